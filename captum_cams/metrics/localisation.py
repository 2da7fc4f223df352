"""Localisation as torchmetrics classes, which keep only a sum and a count."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, get_args

from torch import Tensor

from captum_cams.errors import CAMError, check_at_least, check_choice
from captum_cams.metrics.functional.localisation import (
    LEVELS,
    Threshold,
    energy_inside,
    pointing_game,
    region_overlap,
)
from captum_cams.metrics.functional.relevance import relevance_mass, relevance_rank, top_k_intersection
from captum_cams.metrics.image_mean import ImageMean


class _Localisation(ImageMean, ABC):
    """The mean of a localisation function over images."""

    @abstractmethod
    def values(self, maps: Tensor, regions: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """One value for each image, N or N×levels."""

    def update(self, maps: Tensor, regions: Sequence[Tensor], size: Sequence[int]) -> None:
        """Measure a batch of maps and add the values to the mean.

        Args:
            maps: explanations, N×h×w or N×1×h×w.
            regions: for each image, boxes B×4 of (x0, y0, x1, y1) in pixels, or masks B×H×W, of the explained class.
            size: height and width of the images.

        Raises:
            CAMError: shapes do not fit, an image has no region or an empty region, or the maps contain NaN or Inf.
        """
        self.add(self.values(maps, regions, size))


class PointingGame(_Localisation):
    """The share of images whose map has its maximum in a region, 0 to 1, higher is better; see ``pointing_game``.

    Args:
        margin: pixels around a region that still count as a hit: 15 in the Jitter-CAM paper, 0 in the FD-CAM paper.
        **kwargs: passed to ``torchmetrics.Metric``.

    Example::

        game = metrics.PointingGame(margin=15)
        boxes = [torch.tensor([[8, 8, 40, 40]])] * 2
        game.update(cc.GradCAM(model).attribute(images, labels), boxes, images.shape[-2:])
        print(game.compute())
        figure, axes = game.plot()
    """

    higher_is_better = True

    def __init__(self, margin: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.margin = margin

    def values(self, maps: Tensor, regions: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        return pointing_game(maps, regions, size, margin=self.margin)


class EnergyPointingGame(_Localisation):
    """The mean share of the map inside the regions, 0 to 1, higher is better; see ``energy_inside``.

    Args:
        **kwargs: passed to ``torchmetrics.Metric``.

    Example::

        energy = metrics.EnergyPointingGame()
        masks = [torch.ones(1, 64, 64)] * 2
        energy.update(cc.GradCAM(model).attribute(images, labels), masks, images.shape[-2:])
        print(energy.compute())
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    higher_is_better = True

    def values(self, maps: Tensor, regions: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        return energy_inside(maps, regions, size)


class RelevanceMass(_Localisation):
    """The mean share of the positive values of the map inside the regions, 0 to 1, higher is better.

    See ``relevance_mass`` for its difference from :class:`EnergyPointingGame`.

    Args:
        **kwargs: passed to ``torchmetrics.Metric``.

    Example::

        mass = metrics.RelevanceMass()
        boxes = [torch.tensor([[8, 8, 40, 40]])] * 2
        mass.update(cc.GradCAM(model).attribute(images, labels), boxes, images.shape[-2:])
        print(mass.compute())
    """

    higher_is_better = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def values(self, maps: Tensor, regions: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        return relevance_mass(maps, regions, size)


class RelevanceRank(_Localisation):
    """The mean share of the highest pixels inside the regions, 0 to 1, higher is better; see ``relevance_rank``.

    Args:
        **kwargs: passed to ``torchmetrics.Metric``.

    Example::

        rank = metrics.RelevanceRank()
        boxes = [torch.tensor([[8, 8, 40, 40]])] * 2
        rank.update(cc.GradCAM(model).attribute(images, labels), boxes, images.shape[-2:])
        print(rank.compute())
    """

    higher_is_better = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def values(self, maps: Tensor, regions: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        return relevance_rank(maps, regions, size)


class TopKIntersection(_Localisation):
    """The mean share of the k highest pixels inside the regions, 0 to 1, higher is better; see ``top_k_intersection``.

    Args:
        k: how many of the highest pixels are taken; None takes 2 % of the image.
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        CAMError: k is not an integer of at least 1.

    Example::

        top = metrics.TopKIntersection(k=100)
        boxes = [torch.tensor([[8, 8, 40, 40]])] * 2
        top.update(cc.GradCAM(model).attribute(images, labels), boxes, images.shape[-2:])
        print(top.compute())
    """

    higher_is_better = True

    def __init__(self, k: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if k is not None:
            check_at_least("k", k, 1)
        self.k = k

    def values(self, maps: Tensor, regions: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        return top_k_intersection(maps, regions, size, k=self.k)


class LocalisationError(_Localisation):
    """The share of images with an overlap below ½ at the best level, 0 to 1, lower is better; see ``region_overlap``.

    Args:
        threshold: how pixels of the map are marked: "value", "mean" or "energy".
        levels: the thresholds; the level that is best over all images counts.
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        CAMError: the threshold is unknown, or there are no levels.

    Example::

        error = metrics.LocalisationError("mean")
        boxes = [torch.tensor([[8, 8, 40, 40]])] * 2
        error.update(cc.GradCAM(model).attribute(images, labels), boxes, images.shape[-2:])
        print(error.compute())
    """

    higher_is_better = False

    def __init__(self, threshold: Threshold = "value", *, levels: Sequence[float] = LEVELS, **kwargs: Any) -> None:
        if not levels:
            raise CAMError("levels must have at least one threshold, got none; leave levels out for 0, 0.05, …, 0.95")
        super().__init__((len(levels),), **kwargs)
        check_choice("threshold", threshold, get_args(Threshold))
        self.threshold, self.levels = threshold, tuple(levels)

    def values(self, maps: Tensor, regions: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        overlaps = region_overlap(maps, regions, size, threshold=self.threshold, levels=self.levels)
        return overlaps < 0.5

    def compute(self) -> Tensor:
        """Compute the share of images with an error, at the level where this share is lowest.

        Returns:
            A scalar, 0 to 1; NaN before the first image.
        """
        return super().compute().min()
