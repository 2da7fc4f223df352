"""The result of an evaluation: rows in named columns, and a table of their means."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from captum_cams.errors import lookup
from captum_cams.metrics.catalogue import Summary as Cell
from captum_cams.metrics.catalogue import row_values, summarise
from captum_cams.statistics.seeds import mean_over_seeds, seed_deviations
from lightning_callbacks.evaluation.records import directed, markdown, number
from lightning_callbacks.evaluation.table_forms import TableForms
from lightning_callbacks.evaluation.table_html import table_html


@dataclass(frozen=True)
class Table(TableForms):
    """The result of ``evaluate``; ``print(table)`` shows it as Markdown, and ``table["gradcam", "adcc"]`` is one cell.

    Args:
        methods: names of the methods.
        metrics: names of the metrics.
        columns: name → R values. There is one row for each explained pair of image and class and each method. The
            columns are "image" (index in the data set), "class", "method" (position in ``methods``), each metric (NaN
            if it is not defined, R×levels or R×size if it has several numbers), and "seconds" and "forward_seconds"
            (the time per image for the map, and for a forward pass). If seeds were given, there is one row for each
            seed, too, and the column "seed", −1 for a method that draws no random numbers.
        curves: method → mean deletion and insertion curve, 2×(steps + 1); empty if no metric needs them.
        skipped: indices of the images that could not be read.

    Example::

        data = torch.utils.data.TensorDataset(images, labels)
        table = lightning_callbacks.evaluate(model, data, "gradcam", metrics="complexity")
        cell = table["gradcam", "complexity"]
        print(cell.mean, cell.standard_error, cell.n)
        print(table.seconds("gradcam"), table.forward_passes("gradcam"))
        print(table.rows("gradcam")["image"], table.values("gradcam", "complexity"))

        both = lightning_callbacks.evaluate(model, data, ["gradcam", "random"], metrics=["complexity", "over_all"])
        print(both.compare("gradcam", "random"))
        print(both.interval("gradcam", "over_all"), both.intervals()["random", "over_all"])
        print(both.ranks("over_all"), both.agreement(), both.reliability()["over_all"].whole)
        print(both.best("gradcam", "over_all", k=1), both.worst("gradcam", "over_all", k=1))
        print({index: part["gradcam", "over_all"].mean for index, part in both.by_class().items()})
        print(both.with_intervals(), both.to_latex(), both.to_csv(), both.cells()[0]["low"])
        frame = both.to_pandas()
        values, of_images = both.paired_values("over_all")

        drawn = lightning_callbacks.evaluate(model, data, "random", metrics="complexity", seeds=3)
        print(drawn.seeds, drawn.seeds_of("random"), drawn.over_seeds(), drawn.seeded_values("complexity")[0].shape)
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    columns: Mapping[str, Tensor]
    curves: Mapping[str, Tensor]
    skipped: tuple[int, ...] = ()
    _found: dict[tuple[str, str], tuple[Tensor, float | None]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __getitem__(self, key: tuple[str, str]) -> Cell:
        """Summarise one metric of one method: ``table["gradcam", "insertion_auc"]``.

        Args:
            key: the names of the method and of the metric.

        Returns:
            The mean with its standard error and the number of values. With several seeds, the value of a pair of image
            and class is the mean over the seeds, the standard error contains the deviation over the seeds, and the
            level is None if the seeds have different ones.

        Raises:
            CAMError: the table has no such method or metric.
        """
        method, metric = key
        values, level = self._row_values(method, metric)
        seeds = self.seeds_of(method)
        if not seeds:
            return summarise(values, level)
        of_seeds = self.seeded_values(metric)[0][:, [self.methods.index(method)]]
        found = summarise(mean_over_seeds(of_seeds)[:, 0], level)
        deviation = float(seed_deviations(of_seeds)) / len(seeds) ** 0.5
        return replace(found, standard_error=math.hypot(found.standard_error, deviation))

    def values(self, method: str, metric: str) -> Tensor:
        """Take one value of a metric for each row of a method.

        Args:
            method: the name of the method.
            metric: the name of the metric.

        Returns:
            R values in the order of ``rows(method)``; NaN where the metric is not defined. A metric that chooses a
            level has its values at the best level, of each seed by itself.

        Raises:
            CAMError: the table has no such method or metric.
        """
        return self._row_values(method, metric)[0].clone()

    def _row_values(self, method: str, metric: str) -> tuple[Tensor, float | None]:
        """The values and the best level, found once, because a metric may compare all rows with each other.

        The level is None if there is none, or if the seeds have different ones.
        """
        lookup("metric of this table", metric, dict.fromkeys(self.metrics))
        if (method, metric) not in self._found:
            rows = self.rows(method)
            parts = [(mine, row_values(metric, rows[metric][mine], rows["class"][mine])) for mine in _parts(rows)]
            found = torch.full((len(rows["class"]),), torch.nan)
            for mine, (values, _) in parts:
                found[mine] = values
            levels = {level for _, (_, level) in parts}
            self._found[method, metric] = found, levels.pop() if len(levels) == 1 else None
        return self._found[method, metric]

    def rows(self, method: str) -> dict[str, Tensor]:
        """Take the rows of one method.

        Args:
            method: the name of the method.

        Returns:
            The columns, with these rows only.

        Raises:
            CAMError: the table has no such method.
        """
        number = lookup("method of this table", method, {name: i for i, name in enumerate(self.methods)})
        mine = self.columns["method"] == number
        return {name: column[mine] for name, column in self.columns.items()}

    def by_class(self) -> dict[int, "Table"]:
        """Split the table by the explained class.

        Returns:
            Class → a table of its rows. It has no curves and no skipped images, since these belong to no class.
        """
        parts, classes = {}, self.columns["class"]
        for index in classes.unique().tolist():
            columns = {name: column[classes == index] for name, column in self.columns.items()}
            parts[index] = replace(self, columns=columns, curves={}, skipped=())
        return parts

    def seconds(self, method: str) -> float:
        """Compute the time that the maps of one method take, without the metrics.

        Args:
            method: the name of the method.

        Returns:
            The mean number of seconds per image.

        Raises:
            CAMError: the table has no such method.
        """
        return float(self.rows(method)["seconds"].double().mean())

    def forward_passes(self, method: str) -> float:
        """Compute the time that the maps of one method take, in units of the time of a forward pass.

        Args:
            method: the name of the method.

        Returns:
            The mean number of forward passes that would take the same time.

        Raises:
            CAMError: the table has no such method.
        """
        return self.seconds(method) / float(self.rows(method)["forward_seconds"].double().mean())

    def _repr_html_(self) -> str:
        return table_html(str(self), self.curves)

    def __str__(self) -> str:
        lines = []
        for method in self.methods:
            total = len(self.rows(method)["image"]) // max(1, len(self.seeds_of(method)))
            shown = [_shown(self[method, name], name, total) for name in self.metrics]
            cost = f"{self.seconds(method):.3g}", f"{self.forward_passes(method):.3g}"
            lines.append([method, *shown, str(total), *cost])
        table = markdown(["method", *map(directed, self.metrics), "n", "s/image", "forward passes"], lines)
        if self.seeds:
            table += f"\n\n{self.over_seeds()}"
        if not self.skipped:
            return table
        some = ", ".join(map(str, self.skipped[:10])) + ", …" * (len(self.skipped) > 10)
        return f"{table}\n\nLeft out because they could not be read: {len(self.skipped)} images ({some})."


def _parts(rows: Mapping[str, Tensor]) -> list[Tensor]:
    """Which rows of a method belong to each seed; all rows together if there are no seeds."""
    of = rows.get("seed", torch.zeros_like(rows["class"]))
    return [of == seed for seed in of.unique()]


def _shown(cell: Cell, metric: str, total: int) -> str:
    """The text of a cell: mean ± standard error, and the number of values if it is not the number of rows."""
    if cell.n == 0:
        return ""
    some = f" (n = {cell.n})" if cell.n != total else ""
    error = "" if math.isnan(cell.standard_error) else f" ± {number(cell.standard_error, metric)}"
    return f"{number(cell.mean, metric)}{error}{some}"
