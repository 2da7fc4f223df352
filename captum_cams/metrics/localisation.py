"""The functions of :mod:`captum_cams.metrics.boxes` as torchmetrics: sums and counts only.

Each ``update(maps, boxes, size)`` takes one batch; ``compute()`` gives the mean over all images seen, on all ranks,
however uneven the batches were. Keyword arguments that are not named below go to ``torchmetrics.Metric``.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from captum_cams.errors import CAMError, check_choice
from captum_cams.metrics.boxes import LEVELS, box_overlap, energy_inside, pointing_game


class _Share(Metric):
    full_state_update = False
    is_differentiable = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    total: Tensor
    count: Tensor

    def __init__(self, levels: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        shape = () if levels is None else (levels,)
        self.add_state("total", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def _add(self, values: Tensor) -> None:
        self.total += values.to(self.total).sum(0)
        self.count += len(values)

    def compute(self) -> Tensor:
        return (self.total / self.count).float()


class PointingGame(_Share):
    """Share of images whose maximum hits a box, 0 to 1, higher is better; see ``pointing_game``.

    Args:
        margin: pixels around a box that still count; 15 in the Jitter-CAM paper, 0 in FD-CAM's.
    """

    higher_is_better = True

    def __init__(self, margin: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.margin = margin

    def update(self, maps: Tensor, boxes: Sequence[Tensor], size: tuple[int, int]) -> None:
        self._add(pointing_game(maps, boxes, size, margin=self.margin))


class EnergyPointingGame(_Share):
    """Mean share of the map inside the boxes, 0 to 1, higher is better; see ``energy_inside``."""

    higher_is_better = True

    def update(self, maps: Tensor, boxes: Sequence[Tensor], size: tuple[int, int]) -> None:
        self._add(energy_inside(maps, boxes, size))


class LocalisationError(_Share):
    """Share of images whose overlap is below ½ at the best level, 0 to 1, lower is better; see ``box_overlap``.

    Args:
        threshold: "value", "mean" or "energy".
        levels: the best of them, over all images, counts.

    Raises:
        CAMError: another threshold, or no levels.
    """

    higher_is_better = False

    def __init__(self, threshold: str = "value", levels: Sequence[float] = LEVELS, **kwargs: Any) -> None:
        if not levels:
            raise CAMError("levels must hold at least one threshold, got none")
        super().__init__(len(levels), **kwargs)
        check_choice("threshold", threshold, ("value", "mean", "energy"))
        self.threshold, self.levels = threshold, tuple(levels)

    def update(self, maps: Tensor, boxes: Sequence[Tensor], size: tuple[int, int]) -> None:
        overlaps = box_overlap(maps, boxes, size, threshold=self.threshold, levels=self.levels)
        self._add(overlaps < 0.5)

    def compute(self) -> Tensor:
        return (self.total / self.count).min().float()
