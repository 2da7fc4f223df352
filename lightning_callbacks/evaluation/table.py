"""The result of an evaluation: its rows in named columns, and the table that is made of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from captum_cams.errors import lookup
from captum_cams.metrics.catalogue import METRICS, summary
from captum_cams.metrics.catalogue import Summary as Cell


@dataclass(frozen=True)
class Table:
    """What :func:`evaluate` returns; ``print`` gives it as Markdown, ``table["gradcam", "adcc"]`` a :class:`Cell`.

    Args:
        methods: their names, in the order asked for.
        metrics: their names.
        columns: name → values of the rows, one row for each explained pair of image and class and each method: "image"
            (its index in the data set), "class", "method" (its number in ``methods``), each metric (NaN where it is
            not defined; R×levels where it chooses a level), and "seconds" and "forward_seconds" an image.
        curves: method → mean deletion and insertion curve, 2×(steps + 1); empty where no metric needs them.
        skipped: indices of the images that could not be read and were left out.
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    columns: Mapping[str, Tensor]
    curves: Mapping[str, Tensor]
    skipped: tuple[int, ...] = ()

    def __getitem__(self, key: tuple[str, str]) -> Cell:
        """The summary of one metric of one method: ``table["gradcam", "insertion_auc"]``.

        Raises:
            CAMError: the table has no such method or metric.
        """
        method, metric = key
        lookup("metric of this table", metric, dict.fromkeys(self.metrics))
        return summary(metric, self.rows(method)[metric])

    def rows(self, method: str) -> dict[str, Tensor]:
        """The columns of the rows of one method.

        Raises:
            CAMError: the table has no such method.
        """
        number = lookup("method of this table", method, {name: i for i, name in enumerate(self.methods)})
        mine = self.columns["method"] == number
        return {name: column[mine] for name, column in self.columns.items()}

    def seconds(self, method: str) -> float:
        """Mean seconds an image for the map alone."""
        return float(self.rows(method)["seconds"].double().mean())

    def forward_passes(self, method: str) -> float:
        """The same in plain forward passes of the same batches."""
        return self.seconds(method) / float(self.rows(method)["forward_seconds"].double().mean())

    def __str__(self) -> str:
        arrows = [f"{metric} {'↑' if METRICS[metric].higher_is_better else '↓'}" for metric in self.metrics]
        lines = [["method", *arrows, "n", "s/image", "forward passes"], ["---"] * (len(arrows) + 4)]
        for method in self.methods:
            total = len(self.rows(method)["image"])
            shown = [_shown(self[method, one], total, 1 if METRICS[one].unit == "%" else 3) for one in self.metrics]
            cost = f"{self.seconds(method):.3g}", f"{self.forward_passes(method):.3g}"
            lines.append([method, *shown, str(total), *cost])
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        if not self.skipped:
            return table
        some = ", ".join(map(str, self.skipped[:10])) + ", …" * (len(self.skipped) > 10)
        return f"{table}\n\nLeft out because they could not be read: {len(self.skipped)} images ({some})."


def _shown(cell: Cell, total: int, digits: int) -> str:
    if cell.n == 0:
        return ""
    some = f" (n = {cell.n})" if cell.n != total else ""
    error = "" if math.isnan(cell.standard_error) else f" ± {cell.standard_error:.{digits}f}"
    return f"{cell.mean:.{digits}f}{error}{some}"
