"""The table of a benchmark: how well each method found the pixels that decide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor

from captum_cams.benchmark.measures import MEASURES
from captum_cams.errors import lookup

_RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval.

    Args:
        value: the mean.
        low: the lower end of the interval.
        high: the upper end.

    Example::

        from captum_cams import benchmark

        print(benchmark.Estimate(0.5, 0.4, 0.6))  # 0.50 [0.40, 0.60]
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True, eq=False)
class Grades:
    """What :func:`~captum_cams.benchmark.grade.grade` measured.

    Args:
        methods: the names of M methods.
        networks: the names of the networks.
        factors: the kinds of scenes.
        values: M×networks×factors×measures×scenes, each 0 to 1, higher is better; NaN where a method does not explain
            a network. The measures are those of ``MEASURES``, in this order.
        refused: (method, network) → why the method does not explain this network.

    Example::

        from captum_cams import benchmark

        grades = benchmark.grade(["gradcam", "random"], ["pooled_cnn"], factors=["small"], scenes=4)
        print(grades.order())
        print(grades.table("gradcam"))
    """

    methods: tuple[str, ...]
    networks: tuple[str, ...]
    factors: tuple[str, ...]
    values: Tensor
    refused: Mapping[tuple[str, str], str]

    def estimate(
        self,
        method: str,
        measure: str = "average_precision",
        *,
        factor: str | None = None,
        network: str | None = None,
    ) -> Estimate | None:
        """Compute the mean over scenes, and its 95 % interval by the bootstrap.

        Scenes are drawn with replacement 1000 times, within each factor and each network. The interval is from the 2.5
        to the 97.5 percentile of the means. All methods are resampled alike, with a fixed seed. The interval is about
        other scenes; the networks are what they are.

        Args:
            method: one of ``methods``.
            measure: one of ``MEASURES``.
            factor: one of ``factors``; None takes the mean over all.
            network: one of ``networks``; None takes the mean over those that the method explains.

        Returns:
            The estimate; None if the method does not explain the network.

        Raises:
            CAMError: a name is unknown.
        """
        values = self.values[_index("method", method, self.methods), :, :, _index("measure", measure, MEASURES)]
        kept = ~values.isnan().flatten(1).any(1)
        if network is not None:
            kept &= torch.arange(len(kept)) == _index("network", network, self.networks)
        if not kept.any():
            return None
        columns: slice | list[int] = slice(None) if factor is None else [_index("factor", factor, self.factors)]
        values, draws = values[kept][:, columns], self._draws[:, kept][:, :, columns]
        means = values.expand(_RESAMPLES, *values.shape).gather(-1, draws).flatten(1).mean(1)
        low, high = means.quantile(torch.tensor((0.025, 0.975), dtype=means.dtype)).tolist()
        return Estimate(float(values.mean()), low, high)

    @cached_property
    def _draws(self) -> Tensor:
        """Which scenes each resample has: resamples×networks×factors×scenes."""
        shape = (_RESAMPLES, len(self.networks), len(self.factors), self.values.shape[-1])
        return torch.randint(shape[-1], shape, generator=Generator().manual_seed(0))

    def order(
        self, measure: str = "average_precision", *, factor: str | None = None, network: str | None = None
    ) -> list[str]:
        """List the methods, the best first; those that do not explain the network are left out.

        Args:
            measure: as in :meth:`estimate`.
            factor: as in :meth:`estimate`.
            network: as in :meth:`estimate`.

        Returns:
            Names of methods; equal ones stand in the order in which they were given.
        """
        found = {name: self.estimate(name, measure, factor=factor, network=network) for name in self.methods}
        means = {name: estimate.value for name, estimate in found.items() if estimate is not None}
        return sorted(means, key=lambda name: -means[name])

    def table(self, method: str, network: str | None = None) -> str:
        """Write factor × measure for one method as a Markdown table.

        Args:
            method: one of ``methods``.
            network: one of ``networks``; None takes the mean over those that the method explains.

        Returns:
            The table, a row for each factor and one for their mean.
        """
        rows = [
            [factor or "mean", *(self.estimate(method, name, factor=factor, network=network) for name in MEASURES)]
            for factor in (*self.factors, None)
        ]
        return _markdown(["factor", *MEASURES], rows)

    def summary(self) -> str:
        """Write one row for each method, the best first, as a Markdown table.

        Returns:
            The table: the average precision on each network, then each measure over the networks that the method
            explains. Methods that explain none come last.
        """
        head = ["method", *(f"average_precision, {network}" for network in self.networks), *MEASURES]
        ordered = self.order()
        rows = [
            [
                method,
                *(self.estimate(method, network=network) for network in self.networks),
                *(self.estimate(method, measure) for measure in MEASURES),
            ]
            for method in (*ordered, *(name for name in self.methods if name not in ordered))
        ]
        return _markdown(head, rows)

    def reasons(self) -> str:
        """Write why methods do not explain networks as a Markdown list.

        Returns:
            A line for each method and reason, with the networks for which it is the same; empty if each method explains
            each network.
        """
        networks = dict[tuple[str, str], list[str]]()
        for (method, network), reason in sorted(self.refused.items(), key=lambda pair: self.methods.index(pair[0][0])):
            networks.setdefault((method, reason), []).append(network)
        return "".join(f"- {method}, {', '.join(of)}: {reason}\n" for (method, reason), of in networks.items())

    def by_factor(self, measure: str = "average_precision") -> str:
        """Write method × factor for one measure as a Markdown table.

        Args:
            measure: one of ``MEASURES``.

        Returns:
            The table, with the mean over the networks that each method explains, the best method first.
        """
        rows = [
            [method, *(self.estimate(method, measure, factor=factor) for factor in self.factors)]
            for method in self.order(measure)
        ]
        return _markdown(["method", *self.factors], rows)


def _index(kind: str, name: str, known: Sequence[str] | Mapping[str, object]) -> int:
    return lookup(kind, name, {key: index for index, key in enumerate(known)})


def _markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *([*("–" if cell is None else str(cell) for cell in row)] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
