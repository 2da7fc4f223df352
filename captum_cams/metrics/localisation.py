"""The functions of :mod:`captum_cams.metrics.functional.localisation` as torchmetrics classes.

They keep sums and counts only. Keyword arguments that are not named below go to ``torchmetrics.Metric``.
"""

from abc import ABC, abstractmethod
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


class _Localisation(ImageMean, ABC):
    @abstractmethod
    def values(self, maps: Tensor, regions: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """One value per image, N or N×levels."""

    def update(self, maps: Tensor, regions: Sequence[Tensor], size: tuple[int, int]) -> None:
        """Measure a batch of maps.

        Args:
            maps: the explanations, N×h×w or N×1×h×w, of any size.
            regions: for each image where the explained class is: boxes B×4 of (x0, y0, x1, y1) in its pixels, or masks
                B×H×W that are not zero on the object.
            size: height and width of the images.

        Raises:
            CAMError: shapes do not fit, an image without a region, an empty region, or maps that hold NaN or Inf.
        """
        self.add(self.values(maps, regions, size))


class PointingGame(_Localisation):
    """Share of images whose maximum hits a region, 0 to 1, higher is better; see ``pointing_game``.

    Args:
        margin: pixels around a region that still count; 15 in the Jitter-CAM paper, 0 in FD-CAM's.

    Example::

        game = PointingGame(margin=15)
        game.update(GradCAM(model).attribute(images, labels), boxes, images.shape[-2:])
        print(game.compute())
    """

    higher_is_better = True

    def __init__(self, margin: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.margin = margin

    def values(self, maps: Tensor, regions: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        return pointing_game(maps, regions, size, margin=self.margin)


class EnergyPointingGame(_Localisation):
    """Mean share of the map inside the regions, 0 to 1, higher is better; see ``energy_inside``."""

    higher_is_better = True

    def values(self, maps: Tensor, regions: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        return energy_inside(maps, regions, size)


class LocalisationError(_Localisation):
    """Share of images whose overlap is below ½ at the best level, 0 to 1, lower is better; see ``region_overlap``.

    Args:
        threshold: "value", "mean" or "energy".
        levels: the best of them, over all images, counts.

    Raises:
        CAMError: another threshold, or no levels.
    """

    higher_is_better = False

    def __init__(self, threshold: Threshold = "value", *, levels: Sequence[float] = LEVELS, **kwargs: Any) -> None:
        if not levels:
            raise CAMError("levels must hold at least one threshold, got none")
        super().__init__((len(levels),), **kwargs)
        check_choice("threshold", threshold, get_args(Threshold))
        self.threshold, self.levels = threshold, tuple(levels)

    def values(self, maps: Tensor, regions: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        overlaps = region_overlap(maps, regions, size, threshold=self.threshold, levels=self.levels)
        return overlaps < 0.5

    def compute(self) -> Tensor:
        """The share of images at the level where it is least, over all images seen so far, on all processes.

        Returns:
            A scalar, 0 to 1, NaN before the first image.
        """
        return super().compute().min()
