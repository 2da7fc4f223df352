"""The base classes of the torchmetrics classes: what can be drawn, and a sum over images with their number."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class Plotted(Metric):
    """A metric from 0 to 1, unless the class says otherwise, which torchmetrics can draw."""

    full_state_update = False
    is_differentiable = False
    plot_lower_bound = 0.0
    plot_upper_bound: float | None = 1.0

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw the result so far, or other results, with the plotting of torchmetrics.

        Args:
            val: one or several results of ``compute``; None takes the result so far.
            ax: the matplotlib axes to draw in; None makes a new figure.

        Returns:
            The matplotlib figure and its axes.
        """
        return self._plot(val, ax)


class ImageMean(Plotted):
    """The mean over all images of all processes; every image counts the same, whatever the sizes of the batches.

    Args:
        shape: the shape of the value of one image.
        **kwargs: passed to ``torchmetrics.Metric``.
    """

    total: Tensor
    count: Tensor

    def __init__(self, shape: Sequence[int] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros(tuple(shape), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def add(self, values: Tensor) -> None:
        """Add the values of one batch, N×shape."""
        self.total += values.to(self.total).sum(0)
        self.count += len(values)

    def compute(self) -> Tensor:
        """Compute the mean over all images so far, on all processes.

        Returns:
            A scalar in the range that the class states; NaN before the first image.
        """
        return (self.total / self.count).float()
