"""The state that every metric here has: a sum over images and their number."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class ImageMean(Metric):
    """The mean over all images seen, on all ranks, however uneven the batches were.

    Args:
        shape: of one image's value.
        **kwargs: of ``torchmetrics.Metric``.
    """

    full_state_update = False
    is_differentiable = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    total: Tensor
    count: Tensor

    def __init__(self, shape: Sequence[int] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros(tuple(shape), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def add(self, values: Tensor) -> None:
        """Count in one batch of values, N×shape."""
        self.total += values.to(self.total).sum(0)
        self.count += len(values)

    def compute(self) -> Tensor:
        """The mean over all images seen so far, on all processes.

        Returns:
            A scalar (or a tensor of the ``shape`` of one image's value), NaN before the first image; the range is the
            one that the metric's class states.
        """
        return (self.total / self.count).float()

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """A figure of ``val``, one or several results of ``compute``, or of the result so far; torchmetrics' own."""
        return self._plot(val, ax)
