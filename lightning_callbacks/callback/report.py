"""What the callback logs of its explained images."""

import math
from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger

from captum_cams import visual
from captum_cams.engine.scores import Task
from captum_cams.images import upsample
from captum_cams.metrics.catalogue import summary
from lightning_callbacks.callback.explained import Explained
from lightning_callbacks.callback.loggers import log_picture, log_text

STAGES = ("validation", "validate", "test")
"""Validation while a network is trained; ``Trainer.validate`` after that in the same Trainer; ``Trainer.test``."""


def stage_of(trainer: pl.Trainer) -> str:
    """Which of the stages a Trainer is in."""
    if trainer.state.fn == "test":
        return "test"
    return "validate" if trainer.state.fn == "validate" and trainer.global_step > 0 else "validation"


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
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        class_names: Sequence[str] | None,
        task: Task = "multiclass",
    ) -> None:
        self.prefix, self.methods, self.metrics, self.mean, self.std = prefix, methods, metrics, mean, std
        self.class_names = class_names or ()
        self.quantity = "value" if task == "regression" else "probability"
        self._carded: set[tuple[int, str]] = set()

    def scalar(self, stage: str, name: str) -> str:
        """The tag of a scalar: values of other stages never go on with the curve of the validation."""
        return f"{self.prefix}/{name}" if stage == "validation" else f"{self.prefix}/{stage}/{name}"

    def scalar_tags(self, stage: str) -> set[str]:
        """The tags of all scalars of this stage."""
        names = {f"{method}/{metric}" for method in self.methods for metric in self.metrics}
        return {self.scalar(stage, name) for name in names | {"seconds"}}

    def tags(self) -> set[str]:
        """Every tag of this report, in all stages."""
        pictures = {f"{self.prefix}/{stage}{kind}" for stage in STAGES for kind in ("", "/curves", "/card")}
        return pictures.union(*map(self.scalar_tags, STAGES))

    def scalars(self, rows: Sequence[Explained], drifts: Sequence[dict[str, float]]) -> dict[str, float]:
        """<method>/<metric>: the mean over images, left out where there is none."""
        found = {}
        for method in self.methods:
            mine = [row.values[method] for row in rows if method in row.values]
            for metric in self.metrics:
                if metric == "drift":
                    value = _mean([drift[method] for drift in drifts if method in drift])
                else:
                    value = summary(metric, torch.stack([one[metric] for one in mine])).mean if mine else math.nan
                if math.isfinite(value):
                    found[f"{method}/{metric}"] = value
        return found

    def log(
        self,
        logger: Logger,
        split: str,
        step: int,
        rows: Sequence[Explained],
        drifts: Sequence[dict[str, float]],
        card: str,
    ) -> None:
        """<prefix>/<split>: the panel; <prefix>/<split>/curves; and once the card, <prefix>/<split>/card."""
        tag = f"{self.prefix}/{split}"
        columns = dict.fromkeys(
            name for method in self.methods for row in rows for name in sorted(row.maps) if name.startswith(method)
        )
        if columns:
            images = _stacked([row.image for row in rows])
            maps = {name: _stacked([row.maps.get(name) for row in rows]) for name in columns}
            captions = [self._caption(row, drift) for row, drift in zip(rows, drifts, strict=True)]
            log_picture(logger, tag, visual.panel(images, maps, captions, mean=self.mean, std=self.std), step)
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

    def _caption(self, row: Explained, drift: dict[str, float]) -> str:
        true = ", ".join(self._class(index) for index in row.annotation.classes)
        best = row.predicted
        lines = [f"true {true}"] if true else []
        sign = "p" if self.quantity == "probability" else "value"
        lines.append(f"predicted {self._class(best)}, {sign} = {row.probabilities[best]:.2f}")
        same = [f"{value:.2f}" for name, value in drift.items() if name in self.methods and not math.isnan(value)]
        if same and "drift" in self.metrics:
            lines.append(f"rank correlation {', '.join(same)}")
        return "\n".join(lines)

    def _class(self, index: int) -> str:
        return self.class_names[index] if 0 <= index < len(self.class_names) else str(index)


def _mean(values: list[float]) -> float:
    finite = [value for value in values if not math.isnan(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _stacked(maps: Sequence[torch.Tensor | None]) -> torch.Tensor:
    """A map that is missing is drawn as none; other sizes are brought to that of the first."""
    like = next(one for one in maps if one is not None)
    full = [torch.zeros_like(like) if one is None else one for one in maps]
    return torch.cat([upsample(one[None].float(), like.shape[-2:]) for one in full])
