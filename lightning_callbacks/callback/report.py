"""What the callback logs of its explained images."""

import math
from collections.abc import Sequence

import torch
from pytorch_lightning.loggers import Logger
from torch import Tensor

from captum_cams import visual
from captum_cams.engine.scores import Task
from captum_cams.images import upsample
from captum_cams.metrics.catalogue import summary
from lightning_callbacks.callback.explained import KINDS, Explained
from lightning_callbacks.callback.loggers import log_picture, log_text
from lightning_callbacks.callback.split import STAGES, Split, Stage


class Report:
    """Scalars, panel, curves and card.

    Args:
        prefix: what every tag begins with.
        methods: names.
        metrics: names, "drift" among them or not.
        mean: of the normalisation that the panel undoes.
        std: as ``mean``.
        class_names: for the captions.
        task: of the network.
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
        """The tag of a scalar: values of other stages never go on with the curve of the validation."""
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
        """<method>/<metric>: the mean over images, left out where there is none."""
        found = {
            f"{method}/{metric}": _mean(rows, method, metric) for method in self.methods for metric in self.metrics
        }
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def log(self, logger: Logger, split: Split, step: int, rows: Sequence[Explained], card: str) -> None:
        """<prefix>/<split>: the panel; <prefix>/<split>/curves; and once the card, <prefix>/<split>/card."""
        tag = f"{self.prefix}/{split.name}"
        columns = self._columns(rows)
        if columns:
            images = _stacked([row.image for row in rows])
            captions = [self.caption(row) for row in rows]
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
        """Title → maps, in the order of the methods; that of the true class follows that of the predicted one."""
        found = {}
        for method in self.methods:
            for kind in KINDS:
                maps = [row.maps.get(method, {}).get(kind) for row in rows]
                if any(one is not None for one in maps):
                    found[method if kind == "predicted" else f"{method}, {kind} class"] = _stacked(maps)
        return found

    def caption(self, row: Explained) -> str:
        """What stands below the row of an image in the panel."""
        true = ", ".join(self._class(index) for index in row.annotation.classes)
        best = row.predicted
        lines = [f"true {true}"] if true else []
        sign = "p" if self.quantity == "probability" else "value"
        lines.append(f"predicted {self._class(best)}, {sign} = {row.probabilities[best]:.2f}")
        same = [f"{value:.2f}" for value in row.drift.values() if not math.isnan(value)]
        if same and "drift" in self.metrics:
            lines.append(f"rank correlation {', '.join(same)}")
        return "\n".join(lines)

    def _class(self, index: int) -> str:
        return self.class_names[index] if 0 <= index < len(self.class_names) else str(index)


def _mean(rows: Sequence[Explained], method: str, metric: str) -> float:
    if metric == "drift":
        drifts = [row.drift[method] for row in rows if not math.isnan(row.drift.get(method, math.nan))]
        return sum(drifts) / len(drifts) if drifts else math.nan
    values = [row.values[method][metric] for row in rows if method in row.values]
    return summary(metric, torch.stack(values)).mean if values else math.nan


def _stacked(maps: Sequence[Tensor | None]) -> Tensor:
    """A map that is missing is drawn as none; other sizes are brought to that of the first."""
    like = next(one for one in maps if one is not None)
    full = [torch.zeros_like(like) if one is None else one for one in maps]
    return torch.cat([upsample(one[None].float(), like.shape[-2:]) for one in full])
