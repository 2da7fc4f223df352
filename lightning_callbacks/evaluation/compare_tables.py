"""Put several tables side by side: presets, models, layers or data sets that measured the same methods."""

from collections.abc import Mapping
from dataclasses import dataclass

from captum_cams.errors import CAMError
from captum_cams.metrics.catalogue import METRICS
from captum_cams.statistics import Agreement, Interval, agreement
from lightning_callbacks.evaluation.records import directed, markdown, with_ends
from lightning_callbacks.evaluation.table import Table


@dataclass(frozen=True)
class SideBySide:
    """Several tables side by side; ``print`` shows them as Markdown.

    Args:
        intervals: (name of the table, method, metric) → mean with its 95 % bootstrap interval, for the methods and
            metrics that all tables have.
        agreement: metric → Kendall's τ between the tables: 1 if both order the means of the methods alike.

    Example::

        data = torch.utils.data.TensorDataset(images, labels)
        methods, measured = ["gradcam", "random", "centre"], {"metrics": ["insertion_auc", "complexity"]}
        table = lightning_callbacks.compare_tables({
            "fast": lightning_callbacks.evaluate(model, data, methods, **measured, protocol="training"),
            "fine": lightning_callbacks.evaluate(model, data, methods, **measured),
        })
        print(table.agreement["insertion_auc"]["fast", "fine"])
        print(table.intervals["fine", "gradcam", "complexity"].low)
        print(table)
    """

    intervals: Mapping[tuple[str, str, str], Interval]
    agreement: Mapping[str, Agreement]

    def __str__(self) -> str:
        names, methods = (list(dict.fromkeys(key[axis] for key in self.intervals)) for axis in (0, 1))
        parts = []
        for metric, taus in self.agreement.items():
            cells = self.intervals
            lines = [
                [method, *(with_ends(cells[name, method, metric], metric) for name in names)] for method in methods
            ]
            parts.append(f"{markdown([directed(metric), *names], lines)}\n\n{taus}")
        said = (
            "Each cell is a mean with its 95 % bootstrap interval over the images of its table. Kendall's τ compares "
            f"the orders of the means of {len(methods)} methods."
        )
        return "\n\n".join([*parts, said])


def compare_tables(tables: Mapping[str, Table]) -> SideBySide:
    """Put tables of the same methods side by side, and compute how far they agree about them.

    Args:
        tables: your own name of each table → table. Methods and metrics that one of them lacks are left out.

    Returns:
        The means with their intervals, and Kendall's τ between the tables for each metric.

    Raises:
        CAMError: there are fewer than two tables, or they share fewer than two methods or no metric.

    Example::

        data = torch.utils.data.TensorDataset(images, labels)
        first = lightning_callbacks.evaluate(model, data, ["gradcam", "random"], metrics="complexity")
        other = lightning_callbacks.evaluate(model, data, ["random", "gradcam"], metrics="complexity", layer="layer3")
        print(lightning_callbacks.compare_tables({"layer4": first, "layer3": other}))
    """
    if len(tables) < 2:
        raise CAMError(
            f"compare_tables needs two or more tables, got {len(tables)}; pass a mapping from names to tables"
        )
    first, *others = tables.values()
    methods = [name for name in first.methods if all(name in other.methods for other in others)]
    metrics = [name for name in first.metrics if all(name in other.metrics for other in others)]
    if len(methods) < 2 or not metrics:
        raise CAMError(
            f"the tables must share two or more methods and a metric, got the methods {', '.join(methods) or 'none'} "
            f"and the metrics {', '.join(metrics) or 'none'}; evaluate the same methods with the same metrics"
        )
    found = {
        (name, method, metric): of
        for name, table in tables.items()
        for (method, metric), of in table.intervals().items()
        if method in methods and metric in metrics
    }
    taus = {}
    for metric in metrics:
        sign = 1 if METRICS[metric].higher_is_better else -1
        taus[metric] = agreement({name: [sign * found[name, one, metric].mean for one in methods] for name in tables})
    return SideBySide(found, taus)
