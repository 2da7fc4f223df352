"""The rows of an evaluation as the state of a torchmetrics metric, which gathers them from all processes."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat


class Rows(Metric):
    """One row for each method and pair of image and class; curves are summed.

    Args:
        width: number of values in a row.
        curves: shape of the curves' sum.
    """

    full_state_update = False
    places: list[Tensor]
    values: list[Tensor]
    curves: Tensor

    def __init__(self, width: int, curves: Sequence[int]) -> None:
        super().__init__()
        self.add_state("places", [], dist_reduce_fx="cat")
        self.add_state("values", [], dist_reduce_fx="cat")
        self.add_state("curves", torch.zeros(*curves), dist_reduce_fx="sum")
        # A process without any batch takes part in the gathering too.
        self.update(torch.empty(0, 3, dtype=torch.long), torch.empty(0, width), torch.zeros(*curves))

    def update(self, places: Tensor, values: Tensor, curves: Tensor) -> None:
        """Add rows: places R×3 (image, class, method), values R×width."""
        self.places.append(places.to(self.device))
        self.values.append(values.to(self.device))
        self.curves += curves.to(self.device)

    def compute(self) -> tuple[Tensor, Tensor, Tensor]:
        """Places, values, and the curves' sum, sorted by image, class and method."""
        places, values = (dim_zero_cat(state) for state in (self.places, self.values))
        order = sorted(range(len(places)), key=places.tolist().__getitem__)
        return places.cpu()[order], values.cpu()[order], self.curves.cpu()
