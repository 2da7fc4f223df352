"""The records that the statistics of a table return, which print themselves as Markdown."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb

from captum_cams.errors import lookup
from captum_cams.metrics.catalogue import METRICS
from captum_cams.statistics import Comparison, Interval, Rank
from captum_cams.statistics.comparison import ALPHA


@dataclass(frozen=True)
class Compared:
    """Two methods of a table, compared by each metric; ``print`` shows it as Markdown.

    Args:
        first: the name of one method.
        second: the name of the other method.
        metrics: metric → comparison.
        methods: the number of methods of the table, over whose pairs the p-values are adjusted.

    Example::

        data = torch.utils.data.TensorDataset(images, labels)
        table = lightning_callbacks.evaluate(model, data, ["gradcam", "random"], metrics="complexity")
        table = table.compare("gradcam", "random")
        print(table["complexity"].difference, table["complexity"].verdict)
        print(table)
    """

    first: str
    second: str
    metrics: Mapping[str, Comparison]
    methods: int

    def __getitem__(self, metric: str) -> Comparison:
        """Take the comparison by one metric.

        Args:
            metric: the name of the metric.

        Returns:
            The difference with its interval, its p-values and its verdict.

        Raises:
            CAMError: the table has no such metric.
        """
        return lookup("metric of this table", metric, self.metrics)

    def __str__(self) -> str:
        head = ["metric", f"{self.first} − {self.second}", "95 % interval", "n", "p", "adjusted p", "verdict"]
        lines = []
        for metric, one in self.metrics.items():
            wide = one.high - one.low  # a small difference needs more digits than the means
            digits = _digits(metric) if not wide > 0 else max(_digits(metric), 1 - math.floor(math.log10(wide)))
            shown = ["–" if math.isnan(x) else f"{x:.{digits}f}" for x in (one.difference, one.low, one.high)]
            numbers = shown[0], "–" if shown[1] == "–" else f"{shown[1]} to {shown[2]}", str(one.n)
            lines.append([directed(metric), *numbers, _p(one.p), _p(one.adjusted_p), one.verdict])
        pairs, family = comb(self.methods, 2), "the table has one pair of methods"
        if pairs > 1:
            family = f"Holm's adjustment for the {pairs} pairs of methods of the table, of each metric by itself"
        said = (
            "Mean difference on the n images that both methods explain, with its bootstrap interval over the images; p "
            f"of Wilcoxon's signed-rank test; {family}. A method is "
            f"better if the adjusted p is at most {ALPHA} and the interval leaves out 0, both on the same side."
        )
        return f"{markdown(head, lines)}\n\n{said}"


@dataclass(frozen=True)
class Ranking:
    """The methods of a table ranked by one metric, best first; ``print`` shows it as Markdown.

    Args:
        metric: the name of the metric.
        places: the rank of each method with its interval.
        images: the number of images on which every method has a value.

    Example::

        data = torch.utils.data.TensorDataset(images, labels)
        table = lightning_callbacks.evaluate(model, data, ["gradcam", "random"], metrics="complexity")
        table = table.ranks("complexity")
        print(table["gradcam"].rank, table["gradcam"].low, table["gradcam"].high)
        print([place.method for place in table])
    """

    metric: str
    places: tuple[Rank, ...]
    images: int

    def __iter__(self) -> Iterator[Rank]:
        return iter(self.places)

    def __getitem__(self, method: str) -> Rank:
        """Take the rank of one method.

        Args:
            method: the name of the method.

        Returns:
            The rank with its interval.

        Raises:
            CAMError: the table has no such method.
        """
        return lookup("method of this table", method, {place.method: place for place in self.places})

    def __str__(self) -> str:
        head = ["rank", "95 % interval", "method", directed(self.metric), "mean rank within an image"]
        lines = []
        for one in self.places:
            ranks = f"{one.rank:g}", f"{one.low:g} to {one.high:g}"
            lines.append([*ranks, one.method, number(one.mean, self.metric), f"{one.mean_rank:.2f}"])
        return (
            f"{markdown(head, lines)}\n\n{self.images} images have a value of every method. Rank 1 is the best mean "
            "over these images; its interval is that of the bootstrap over the images."
        )


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *lines))


def directed(metric: str) -> str:
    """The name of a metric with an arrow to its better side, and its unit."""
    return f"{metric} {'↑' if METRICS[metric].higher_is_better else '↓'}{' (%)' * (METRICS[metric].unit == '%')}"


def number(value: float, metric: str) -> str:
    """A value of a metric with as many digits as its unit needs, or nothing for NaN."""
    return "" if math.isnan(value) else f"{value:.{_digits(metric)}f}"


def with_ends(of: Interval, metric: str) -> str:
    """A mean with its interval in brackets, if it has one."""
    both = "" if math.isnan(of.low) else f" ({number(of.low, metric)} to {number(of.high, metric)})"
    return number(of.mean, metric) + both


def _digits(metric: str) -> int:
    return 1 if METRICS[metric].unit == "%" else 3


def _p(value: float) -> str:
    return "–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
