"""The functions of :mod:`captum_cams.metrics.functional.localisation` as torchmetrics: sums and counts only.

Each ``update(maps, regions, size)`` takes one batch; ``compute()`` gives the mean over all images seen, on all ranks,
however uneven the batches were. Keyword arguments that are not named below go to ``torchmetrics.Metric``.
"""

from collections.abc import Sequence
from typing import Any, get_args

from torch import Tensor

from captum_cams.errors import CAMError, check_choice
from captum_cams.metrics.functional.localisation import (
    LEVELS,
    Threshold,
    energy_inside,
    pointing_game,
    region_overlap,
)
from captum_cams.metrics.image_mean import ImageMean


class PointingGame(ImageMean):
    """Share of images whose maximum hits a region, 0 to 1, higher is better; see ``pointing_game``.

    Args:
        margin: pixels around a region that still count; 15 in the Jitter-CAM paper, 0 in FD-CAM's.
    """

    higher_is_better = True

    def __init__(self, margin: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.margin = margin

    def update(self, maps: Tensor, regions: Sequence[Tensor], size: tuple[int, int]) -> None:
        self.add(pointing_game(maps, regions, size, margin=self.margin))


class EnergyPointingGame(ImageMean):
    """Mean share of the map inside the regions, 0 to 1, higher is better; see ``energy_inside``."""

    higher_is_better = True

    def update(self, maps: Tensor, regions: Sequence[Tensor], size: tuple[int, int]) -> None:
        self.add(energy_inside(maps, regions, size))


class LocalisationError(ImageMean):
    """Share of images whose overlap is below ½ at the best level, 0 to 1, lower is better; see ``region_overlap``.

    Args:
        threshold: "value", "mean" or "energy".
        levels: the best of them, over all images, counts.

    Raises:
        CAMError: another threshold, or no levels.
    """

    higher_is_better = False

    def __init__(self, threshold: Threshold = "value", levels: Sequence[float] = LEVELS, **kwargs: Any) -> None:
        if not levels:
            raise CAMError("levels must hold at least one threshold, got none")
        super().__init__((len(levels),), **kwargs)
        check_choice("threshold", threshold, get_args(Threshold))
        self.threshold, self.levels = threshold, tuple(levels)

    def update(self, maps: Tensor, regions: Sequence[Tensor], size: tuple[int, int]) -> None:
        overlaps = region_overlap(maps, regions, size, threshold=self.threshold, levels=self.levels)
        self.add(overlaps < 0.5)

    def compute(self) -> Tensor:
        return super().compute().min()
