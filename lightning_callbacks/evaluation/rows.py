"""Collect the rows of an evaluation in a torchmetrics metric, which gathers them from all processes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from captum_cams.metrics.catalogue import METRICS


def empty_columns(metrics: Sequence[str]) -> dict[str, Tensor]:
    """The columns of an evaluation, without rows; :class:`Table` describes each column."""
    keys = {name: torch.empty(0, dtype=torch.long) for name in ("image", "class", "method")}
    values = {metric: torch.empty(0, *METRICS[metric].shape, dtype=torch.float32) for metric in metrics}
    return keys | values | {name: torch.empty(0, dtype=torch.float32) for name in ("seconds", "forward_seconds")}


class Rows(Metric):
    """One row for each method and pair of image and class, in named columns, and the sums of the curves.

    Args:
        methods: names of the methods.
        metrics: names of the metrics.
        steps: number of points of a curve.
    """

    full_state_update = False
    skipped: list[Tensor]

    def __init__(self, methods: Sequence[str], metrics: Sequence[str], steps: int) -> None:
        super().__init__()
        self.methods, self.empty = tuple(methods), empty_columns(metrics)
        for name in self.empty:
            self.add_state(_state(name), [], dist_reduce_fx="cat")
        for method in self.methods:
            self.add_state(_state(method, "curves"), torch.zeros(2, steps), dist_reduce_fx="sum")
        self.add_state("skipped", [], dist_reduce_fx="cat")
        self.update(self.empty, {})  # a process without a batch must take part in the gathering too

    def update(self, columns: Mapping[str, Tensor], curves: Mapping[str, Tensor], skipped: Sequence[int] = ()) -> None:
        """Add rows.

        Args:
            columns: the columns of :func:`empty_columns`, with the same number of rows each.
            curves: method → sum of the deletion and insertion curves of these rows.
            skipped: indices of images that could not be read.
        """
        for name in self.empty:
            getattr(self, _state(name)).append(columns[name].to(self.device))
        for method, both in curves.items():
            getattr(self, _state(method, "curves")).add_(both.to(self.device))
        self.skipped.append(torch.tensor([*skipped], dtype=torch.long, device=self.device))

    def compute(self) -> tuple[dict[str, Tensor], dict[str, Tensor], list[int]]:
        """Join the rows, sorted by image, class and method; with the sums of the curves and the skipped images."""
        columns = {name: dim_zero_cat(getattr(self, _state(name))).cpu() for name in self.empty}
        keys = [*zip(*(columns[name].tolist() for name in ("image", "class", "method")), strict=True)]
        order = torch.tensor(sorted(range(len(keys)), key=keys.__getitem__), dtype=torch.long)
        curves = {method: getattr(self, _state(method, "curves")).cpu() for method in self.methods}
        skipped = sorted({*dim_zero_cat(self.skipped).tolist()})
        return {name: column[order] for name, column in columns.items()}, curves, skipped

    def gathered(self) -> tuple[dict[str, Tensor], dict[str, Tensor], list[int]]:
        """The result of :meth:`compute`, with the axis of rows that torchmetrics removes if there is only one row."""
        columns, curves, skipped = self.compute()
        return {name: self._shaped(name, column) for name, column in columns.items()}, curves, skipped

    def to_json(self, columns: Mapping[str, Tensor], curves: Mapping[str, Tensor]) -> dict[str, Any]:
        """The arguments of :meth:`update` as JSON values; methods have their names, since numbers may change."""
        plain = {name: column.tolist() for name, column in columns.items()}
        plain["method"] = [self.methods[number] for number in plain["method"]]
        return {"columns": plain, "curves": {method: both.tolist() for method, both in curves.items()}}

    def from_json(self, found: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The arguments of :meth:`to_json` from its result."""
        plain = found["columns"] | {"method": [self.methods.index(name) for name in found["columns"]["method"]]}
        columns = {
            name: self._shaped(name, torch.tensor(plain[name], dtype=none.dtype)) for name, none in self.empty.items()
        }
        return columns, {method: torch.tensor(both, dtype=torch.float32) for method, both in found["curves"].items()}

    def _shaped(self, name: str, column: Tensor) -> Tensor:
        return column.reshape(-1, *self.empty[name].shape[1:])


def _state(name: str, kind: str = "column") -> str:
    """The name of the attribute for a column; the spaces keep it apart from the attributes of torchmetrics."""
    return f"{kind} of {name}"
