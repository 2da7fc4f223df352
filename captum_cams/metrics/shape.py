"""The shape of maps as torchmetrics classes: sparseness, entropy, and the consistency of the maps of a class."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics.utilities.data import dim_zero_cat

from captum_cams.metrics.functional.consistency import PIXELS, check_classes, class_overlap, thumbnails
from captum_cams.metrics.functional.shape import entropy, sparseness
from captum_cams.metrics.image_mean import ImageMean, Plotted


class _Shape(ImageMean, ABC):
    """The mean over images of a function of the map alone."""

    @abstractmethod
    def values(self, inputs: Tensor, maps: Tensor) -> Tensor:
        """One value for each image, N."""

    def update(self, inputs: Tensor, maps: Tensor) -> None:
        """Measure the maps of a batch of images, and add the values to the mean.

        Args:
            inputs: images, N×C×H×W; only their size matters.
            maps: explanations of the images, N×h×w or N×1×h×w.

        Raises:
            CAMError: the shapes do not fit, the batch is empty, or the maps contain NaN or Inf.
        """
        self.add(self.values(inputs, maps))


class Sparseness(_Shape):
    """The mean Gini index of the maps, 0 to 1, higher is sparser; see ``sparseness``.

    Args:
        **kwargs: passed to ``torchmetrics.Metric``.

    Example::

        sparse = metrics.Sparseness()
        sparse.update(images, cc.GradCAM(model).attribute(images, labels))
        print(sparse.compute())
    """

    higher_is_better = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def values(self, inputs: Tensor, maps: Tensor) -> Tensor:
        return sparseness(inputs, maps)


class Entropy(_Shape):
    """The mean entropy of the maps in nats, lower is simpler; see ``entropy``.

    Args:
        **kwargs: passed to ``torchmetrics.Metric``.

    Example::

        spread = metrics.Entropy()
        spread.update(images, cc.GradCAM(model).attribute(images, labels))
        print(spread.compute())
    """

    higher_is_better = False
    plot_upper_bound = None  # the logarithm of the number of pixels

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def values(self, inputs: Tensor, maps: Tensor) -> Tensor:
        return entropy(inputs, maps)


class Consistency(Plotted):
    """The mean similarity of the maps of one class, 0 to 1, higher is better; see ``consistency``.

    It compares all images of all processes with each other. For each image it keeps a picture of 64 pixels. Images
    without another image of their class do not count.

    Args:
        **kwargs: passed to ``torchmetrics.Metric``.

    Example::

        similar = metrics.Consistency()
        similar.update(cc.GradCAM(model).attribute(images, target=3), [3, 3])
        print(similar.compute())
    """

    higher_is_better = True
    rows: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("rows", [], dist_reduce_fx="cat")
        self._begin()

    def _begin(self) -> None:
        """Add no rows, because a process without an image takes part in the gathering, too."""
        self.rows.append(torch.empty(0, 1 + PIXELS, device=self.device))

    def reset(self) -> None:
        super().reset()
        self._begin()

    def update(self, maps: Tensor, classes: Tensor | Sequence[int]) -> None:
        """Keep the thumbnails of a batch of maps.

        Args:
            maps: explanations, N×h×w or N×1×h×w.
            classes: the explained class of each map, N.

        Raises:
            CAMError: the shapes do not fit, the batch is empty, or the maps contain NaN or Inf.
        """
        small = thumbnails(maps).to(self.device)
        self.rows.append(torch.cat((check_classes(classes, len(small)).to(small)[:, None], small), 1))

    def compute(self) -> Tensor:
        """Compare the maps of each class, and average over the images.

        Returns:
            A scalar, 0 to 1; NaN if no two images have the same class.
        """
        rows = dim_zero_cat(self.rows)
        return class_overlap(rows[:, 1:], rows[:, 0]).nanmean()
