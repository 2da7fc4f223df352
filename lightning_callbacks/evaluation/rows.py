"""Collect the rows of an evaluation in a torchmetrics metric, which gathers them from all processes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from captum_cams.errors import CAMError
from captum_cams.metrics.catalogue import METRICS
from lightning_callbacks.evaluation.packed import packed, unpacked
from lightning_callbacks.evaluation.table import Table

Measured = tuple[dict[str, Tensor], dict[str, Tensor]]
"""The columns of some rows, and the sum of their curves for each method."""


class Rows(Metric):
    """One row for each method and pair of image and class, in named columns, and the sums of the curves.

    Args:
        methods: names of the methods.
        metrics: names of the metrics.
        points: number of points of a curve, or 0 if no metric draws curves.
        save_curves: keep the two curves of each row, too, as a column of float16 numbers.
        seeds: keep the seed of each row, too.
    """

    full_state_update = False
    skipped: list[Tensor]

    def __init__(
        self,
        methods: Sequence[str],
        metrics: Sequence[str],
        points: int,
        save_curves: bool = False,
        seeds: bool = False,
    ) -> None:
        super().__init__()
        self.methods, self.metrics, self.points = tuple(methods), tuple(metrics), points
        names = ("image", "class", "method", *["seed"] * seeds)
        keys = {name: torch.empty(0, dtype=torch.long) for name in names}
        values = {metric: torch.empty(0, *METRICS[metric].shape, dtype=torch.float32) for metric in metrics}
        seconds = {name: torch.empty(0, dtype=torch.float32) for name in ("seconds", "forward_seconds")}
        curves = {"curves": torch.empty(0, 2, points, dtype=torch.float16)} if save_curves else {}
        self.empty = keys | values | seconds | curves
        """The columns of an evaluation, without rows; :class:`Table` describes each column."""
        for name in self.empty:
            self.add_state(_state(name), [], dist_reduce_fx="cat")
        for method in self.methods if points else ():
            self.add_state(_state(method, "curves"), torch.zeros(2, points), dist_reduce_fx="sum")
        self.add_state("skipped", [], dist_reduce_fx="cat")
        self.update(self.empty, {})  # a process without a batch must take part in the gathering too

    def update(self, columns: Mapping[str, Tensor], curves: Mapping[str, Tensor], skipped: Sequence[int] = ()) -> None:
        """Add rows.

        Args:
            columns: the columns of ``empty``, with the same number of rows each.
            curves: method → sum of the deletion and insertion curves of these rows.
            skipped: indices of images that could not be read.
        """
        for name in self.empty:
            _append(getattr(self, _state(name)), columns[name].to(self.device))
        for method, both in curves.items():
            getattr(self, _state(method, "curves")).add_(both.to(self.device))
        _append(self.skipped, torch.tensor([*skipped], dtype=torch.long, device=self.device))

    def compute(self) -> tuple[dict[str, Tensor], dict[str, Tensor], list[int]]:
        """Join the rows, sorted as :func:`order_of` says; with the sums of the curves and the skipped images."""
        columns = {name: dim_zero_cat(getattr(self, _state(name))).cpu() for name in self.empty}
        order = order_of(columns)
        curves = {method: getattr(self, _state(method, "curves")).cpu() for method in self.methods if self.points}
        skipped = sorted({*dim_zero_cat(self.skipped).tolist()})
        return {name: column[order] for name, column in columns.items()}, curves, skipped

    def table(self) -> Table:
        """Make the table of all rows of all processes; each process must call this."""
        columns, sums, skipped = self.compute()
        # torchmetrics removes the axis of rows if there is only one row.
        columns = {name: column.reshape(-1, *self.empty[name].shape[1:]) for name, column in columns.items()}
        count = columns["method"].bincount(minlength=len(self.methods)).tolist()
        means = {name: both / n for (name, both), n in zip(sums.items(), count, strict=False) if n}
        return Table(self.methods, self.metrics, columns, means, tuple(skipped))

    def to_json(self, columns: Mapping[str, Tensor], curves: Mapping[str, Tensor]) -> dict[str, Any]:
        """The arguments of :meth:`update` as JSON values, with the names of the methods, since numbers may change."""
        return {
            "methods": self.methods,
            "columns": {name: packed(columns[name]) for name in self.empty},
            "curves": {method: packed(both) for method, both in curves.items()},
        }

    def from_json(self, found: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The arguments of :meth:`to_json` from its result."""
        columns = {name: unpacked(found["columns"][name], none) for name, none in self.empty.items()}
        columns["method"] = torch.tensor([self.methods.index(name) for name in found["methods"]])[columns["method"]]
        like = torch.empty(0, self.points)
        return columns, {method: unpacked(both, like) for method, both in found["curves"].items()}


def joined(parts: Sequence[Measured], empty: dict[str, Tensor]) -> Measured:
    """Join the parts of a batch; there may be none."""
    columns = {name: torch.cat([none, *(part[name] for part, _ in parts)]) for name, none in empty.items()}
    methods = parts[0][1] if parts else ()
    return columns, {name: torch.stack([sums[name] for _, sums in parts]).sum(0) for name in methods}


def as_float16(curves: Tensor) -> Tensor:
    """The curves as they are saved.

    Raises:
        CAMError: a number is too large.
    """
    largest = float(curves.abs().max()) if curves.numel() else 0.0
    if largest > torch.finfo(torch.float16).max:
        raise CAMError(
            f"save_curves keeps float16 numbers of at most 65,504, got {largest:.3g}; scale the output with output_fn, "
            "or do not pass save_curves"
        )
    return curves.half()


def order_of(columns: Mapping[str, Tensor]) -> Tensor:
    """The order of rows by image, class, method and seed."""
    names = [name for name in ("seed", "method", "class", "image") if name in columns]
    return torch.from_numpy(np.lexsort([columns[name].numpy() for name in names]))


def _append(parts: list[Tensor], new: Tensor) -> None:
    """Add rows to the parts of a column, and join parts so that there are few, each longer than the next.

    Many small tensors would take several times the memory of their numbers.
    """
    parts.append(new)
    while len(parts) > 1 and len(parts[-1]) >= len(parts[-2]):
        parts[-2:] = [torch.cat(parts[-2:])]


def _state(name: str, kind: str = "column") -> str:
    """The name of the attribute for a column; the spaces keep it apart from the attributes of torchmetrics."""
    return f"{kind} of {name}"
