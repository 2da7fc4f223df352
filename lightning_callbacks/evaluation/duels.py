"""Compare two maps in one condition: a control with a method, or two methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from captum_cams.metrics.entry import METRICS
from captum_cams.statistics import Comparison, holm, intervals, signed_rank
from lightning_callbacks.evaluation.table import Table

Grade = Literal["above", "level", "below"]
_OPPOSITE: dict[Grade, Grade] = {"above": "below", "level": "level", "below": "above"}


@dataclass(frozen=True)
class Condition:
    """One way to measure: a metric, with what replaces removed pixels.

    Args:
        metric: the name of the metric.
        replacement: the name of the replacement, or None if the metric draws no curves.
    """

    metric: str
    replacement: str | None

    def __str__(self) -> str:
        return self.metric if self.replacement is None else f"{self.metric} with {self.replacement}"


@dataclass(frozen=True)
class Duel:
    """Two maps in one condition: how far the first is rated above the second.

    Args:
        first: the name of the first method or control.
        second: the name of the second one.
        gain: the mean difference over the images, positive if the first is rated better.
        low: the lower end of the 95 % bootstrap interval of the gain.
        high: the upper end.
        adjusted_p: the p-value of Wilcoxon's test, adjusted by Holm over the duels of the condition.
        n: the number of images.
        grade: "above" or "below" if a difference is shown, else "level".
    """

    first: str
    second: str
    gain: float
    low: float
    high: float
    adjusted_p: float
    n: int
    grade: Grade


def fight(table: Table, metric: str, pairs: Sequence[tuple[str, str]]) -> list[Duel]:
    """Compare pairs of methods by one metric; Holm's adjustment is over these pairs.

    Pairs without an image on which both have a value are left out.
    """
    higher, sign = METRICS[metric].higher_is_better, sign_of(metric)
    values, units = table.seeded_values(metric)  # methods may have their rows in different orders
    column = dict(zip(table.methods, values.unbind(1), strict=True))
    differences = [column[first] - column[second] for first, second in pairs]
    known = [(pair, one) for pair, one in zip(pairs, differences, strict=True) if not bool(one.isnan().all())]
    if not known:
        return []
    tests = [signed_rank(one, units) for _, one in known]
    adjusted = holm([p for p, _ in tests])
    means = intervals(torch.stack([one for _, one in known], 1), units)
    found = []
    for (pair, _), (p, effect), whole, of in zip(known, tests, adjusted, means, strict=True):
        compared = Comparison(*pair, of.mean, of.low, of.high, p, whole, effect, of.n, higher)
        grade: Grade = "level" if compared.better is None else "above" if compared.better == pair[0] else "below"
        low, high = (of.low, of.high) if higher else (-of.high, -of.low)
        found.append(Duel(*pair, sign * of.mean, low, high, whole, of.n, grade))
    return found


def sign_of(metric: str) -> int:
    """1 if higher values of the metric are better, else −1."""
    return 1 if METRICS[metric].higher_is_better else -1


def turned(duel: Duel) -> Duel:
    """The same duel with the second one first."""
    grade = _OPPOSITE[duel.grade]
    return Duel(duel.second, duel.first, -duel.gain, -duel.high, -duel.low, duel.adjusted_p, duel.n, grade)
