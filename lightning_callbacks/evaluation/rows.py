"""The rows of an evaluation as the state of a torchmetrics metric, which gathers them from all processes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat


class Rows(Metric):
    """One row for each method and pair of image and class; curves are summed.

    Args:
        methods: their names.
        columns: name of each value in a row → how many numbers it has.
        steps: points of a curve.
    """

    full_state_update = False
    places: list[Tensor]
    values: list[Tensor]
    skipped: list[Tensor]
    curves: Tensor

    def __init__(self, methods: Sequence[str], columns: Mapping[str, int], steps: int) -> None:
        super().__init__()
        self.methods, self.columns = tuple(methods), dict(columns)
        self.add_state("places", [], dist_reduce_fx="cat")
        self.add_state("values", [], dist_reduce_fx="cat")
        self.add_state("skipped", [], dist_reduce_fx="cat")
        self.add_state("curves", torch.zeros(len(self.methods), 2, steps), dist_reduce_fx="sum")
        # A process without any batch takes part in the gathering too.
        width = sum(self.columns.values())
        self.update(torch.empty(0, 3, dtype=torch.long), torch.empty(0, width), torch.zeros_like(self.curves))

    def update(self, places: Tensor, values: Tensor, curves: Tensor, skipped: Sequence[int] = ()) -> None:
        """Add rows: places R×3 (image, class, method), values R×width; and images that could not be read."""
        self.places.append(places.to(self.device))
        self.values.append(values.to(self.device))
        self.skipped.append(torch.tensor([*skipped], dtype=torch.long, device=self.device))
        self.curves += curves.to(self.device)

    def compute(self) -> tuple[Tensor, Tensor, Tensor, list[int]]:
        """Places and values, sorted by image, class and method, the curves' sum, and the images left out."""
        places, values = (dim_zero_cat(state) for state in (self.places, self.values))
        order = sorted(range(len(places)), key=places.tolist().__getitem__)
        skipped = sorted({*dim_zero_cat(self.skipped).tolist()})
        return places.cpu()[order], values.cpu()[order], self.curves.cpu(), skipped

    def named(self, places: Tensor, values: Tensor, curves: Tensor) -> dict[str, Any]:
        """The same rows with every method and every column by name, whatever their order."""
        found: dict[str, Any] = {}
        for number, method in enumerate(self.methods):
            mine = places[:, 2] == number
            columns = values[mine].split(list(self.columns.values()), 1)
            found[method] = {
                "pairs": places[mine, :2].tolist(),
                "values": {name: column.tolist() for name, column in zip(self.columns, columns, strict=True)},
                "curves": curves[number].tolist(),
            }
        return found

    def numbered(self, found: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """What :meth:`named` was given."""
        places, values = [torch.empty(0, 3, dtype=torch.long)], [torch.empty(0, sum(self.columns.values()))]
        for number, method in enumerate(self.methods):
            pairs = torch.tensor(found[method]["pairs"], dtype=torch.long).view(-1, 2)
            places.append(torch.cat((pairs, torch.full((len(pairs), 1), number)), 1))
            columns = [
                torch.tensor(found[method]["values"][name]).view(-1, width) for name, width in self.columns.items()
            ]
            values.append(torch.cat(columns, 1))
        curves = torch.tensor([found[method]["curves"] for method in self.methods])
        return torch.cat(places), torch.cat(values), curves
