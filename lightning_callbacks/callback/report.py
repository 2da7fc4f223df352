"""Log the explained images: scalars, panel, curves and card."""

import math
from collections.abc import Sequence

import torch
from pytorch_lightning.loggers import Logger
from torch import Tensor

from captum_cams import title, visual
from captum_cams.engine.scores import Task
from captum_cams.images import look_channels_last, upsample
from captum_cams.metrics.catalogue import summary
from lightning_callbacks.callback.explained import KINDS, Explained
from lightning_callbacks.callback.loggers import log_picture, log_text
from lightning_callbacks.callback.split import STAGES, Split, Stage


class Report:
    """The tags, scalars and pictures of one callback.

    Args:
        prefix: first part of every tag.
        methods: names of the methods.
        metrics: names of the metrics, and perhaps "drift".
        mean: mean of the normalisation, which the panel undoes.
        std: standard deviation of the normalisation.
        class_names: names for the captions, one for each score.
        task: meaning of the network's output.
    """

    def __init__(
        self,
        prefix: str,
        methods: tuple[str, ...],
        metrics: tuple[str, ...],
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        class_names: Sequence[str] | None = None,
        task: Task = "multiclass",
    ) -> None:
        self.prefix, self.methods, self.metrics, self.mean, self.std = prefix, methods, metrics, mean, std
        self.class_names = class_names or ()
        self.quantity = "value" if task == "regression" else "probability"
        self._carded: set[tuple[int, Split]] = set()

    def scalar(self, stage: Stage, name: str) -> str:
        """The tag of a scalar; each stage has tags of its own, so that a curve shows one stage."""
        return f"{self.prefix}/{name}" if stage == "validation" else f"{self.prefix}/{stage}/{name}"

    def scalar_tags(self, stage: Stage) -> set[str]:
        """The tags of all scalars of this stage."""
        names = {f"{method}/{metric}" for method in self.methods for metric in self.metrics}
        return {self.scalar(stage, name) for name in names | {"seconds"}}

    def tags(self) -> set[str]:
        """Every tag of this report, in all stages."""
        pictures = {f"{self.prefix}/{stage}{kind}" for stage in STAGES for kind in ("", "/curves", "/card")}
        return pictures.union(*map(self.scalar_tags, STAGES))

    def scalars(self, rows: Sequence[Explained]) -> dict[str, float]:
        """<method>/<metric> → mean over the images; tags without a finite mean are missing."""
        found = {
            f"{method}/{metric}": _mean(rows, method, metric) for method in self.methods for metric in self.metrics
        }
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def log(self, logger: Logger, split: Split, step: int, rows: Sequence[Explained], card: str) -> None:
        """Log the panel <prefix>/<split>, the curves <prefix>/<split>/curves, and once <prefix>/<split>/card."""
        tag = f"{self.prefix}/{split.name}"
        columns = self._columns(rows)
        if columns and not _signals(rows):
            images = _stacked([_channels_first(row.image) for row in rows])
            captions = [visual.Caption(self.caption(row), _is_right(row)) for row in rows]
            log_picture(logger, tag, visual.panel(images, columns, captions, mean=self.mean, std=self.std), step)
        curves = {
            method: torch.stack([row.curves[method] for row in rows if method in row.curves]).mean(0)
            for method in self.methods
            if any(method in row.curves for row in rows)
        }
        if curves:
            pairs = {method: (both[0], both[1]) for method, both in curves.items()}
            log_picture(logger, f"{tag}/curves", visual.curves(pairs, self.quantity), step)
        if (id(logger), split) not in self._carded:
            self._carded.add((id(logger), split))
            log_text(logger, f"{tag}/card", card, step)

    def _columns(self, rows: Sequence[Explained]) -> dict[str, Tensor]:
        """The columns of the panel, title → maps; for each method the predicted class, and then the true class."""
        found = {}
        for method in self.methods:
            for kind in KINDS:
                maps = [row.maps.get(method, {}).get(kind) for row in rows]
                if any(map_ is not None for map_ in maps):
                    found[title(method) if kind == "predicted" else f"{title(method)}, {kind} class"] = _stacked(maps)
        return found

    def caption(self, row: Explained) -> str:
        """The text below the row of an image in the panel."""
        count = len(row.probabilities)
        names = self.class_names if len(self.class_names) == count else [str(index) for index in range(count)]
        true = ", ".join(names[index] if 0 <= index < count else str(index) for index in row.annotation.classes)
        best = row.predicted
        lines = [f"true {true}"] if true else []
        sign = "p" if self.quantity == "probability" else "value"
        lines.append(f"predicted {names[best]}, {sign} = {row.probabilities[best]:.2f}")
        same = [f"{title(method)} {value:.2f}" for method, value in row.drift.items() if not math.isnan(value)]
        if same and "drift" in self.metrics:
            lines.append(f"rank correlation {', '.join(same)}")
        return "\n".join(lines)

    def doubts(self, rows: Sequence[Explained]) -> list[str]:
        """Warnings of panels: class names that do not fit the scores, and signals, which have no panel."""
        count, found = len(rows[0].probabilities) if rows else 0, []
        if rows and self.class_names and len(self.class_names) != count:
            found.append(
                f"class_names must name the {count} classes of the model, got {len(self.class_names)}, so the panel "
                "shows indices; pass one name for each class"
            )
        if _signals(rows):
            found.append("signals have no picture, so no panel is logged; CAMCallback.explained has their maps")
        return found


def _mean(rows: Sequence[Explained], method: str, metric: str) -> float:
    """The mean of a metric over the images, or NaN."""
    if metric == "drift":
        drifts = [row.drift[method] for row in rows if not math.isnan(row.drift.get(method, math.nan))]
        return sum(drifts) / len(drifts) if drifts else math.nan
    mine = [row for row in rows if method in row.values]
    if not mine:
        return math.nan
    values = torch.stack([row.values[method][metric] for row in mine])
    return summary(metric, values, torch.tensor([row.predicted for row in mine])).mean


def _is_right(row: Explained) -> bool | None:
    """Whether the predicted class is one of the true classes; None if these are not known."""
    return row.predicted in row.annotation.classes if row.annotation.classes else None


def _signals(rows: Sequence[Explained]) -> bool:
    """Whether the images are signals C×T."""
    return any(row.image.ndim == 2 for row in rows)


def _channels_first(image: Tensor) -> Tensor:
    return image.movedim(-1, 0) if look_channels_last(image[None]) else image


def _stacked(maps: Sequence[Tensor | None]) -> Tensor:
    """Maps or images as one tensor; a missing map is zero, and all are resized to the size of the first."""
    like = next(map_ for map_ in maps if map_ is not None)
    full = [torch.zeros_like(like) if map_ is None else map_ for map_ in maps]
    return torch.cat([upsample(map_[None].float(), like.shape[1:]) for map_ in full])
