"""Compare methods in pairs on the same images."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from scipy.stats import rankdata, wilcoxon
from torch import Tensor

from captum_cams.errors import CAMError, shape_of
from captum_cams.statistics.bootstrap import intervals
from captum_cams.statistics.seeds import mean_over_seeds
from captum_cams.statistics.units import unit_sums

ALPHA = 0.05  # the error rate that a verdict allows


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same images.

    Args:
        first: the name of the first method.
        second: the name of the second method.
        difference: the mean of first − second; NaN if no image has both.
        low: the lower end of the 95 % bootstrap interval of the difference.
        high: the upper end.
        p: the p-value of Wilcoxon's signed-rank test over the images.
        adjusted_p: ``p`` adjusted by Holm over all pairs of methods.
        effect: the rank-biserial correlation of the test: the share of the ranks of positive differences minus that
            of negative differences, −1 to 1.
        n: the number of images on which both methods have a value.
        higher_is_better: whether the better method has the higher values.

    Example::

        from captum_cams import statistics

        values = torch.rand(40, 2)
        found = statistics.compare(values, ["ours", "theirs"], higher_is_better=True)[0]
        print(found.difference, found.low, found.high, found.adjusted_p, found.verdict)
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    adjusted_p: float
    effect: float
    n: int
    higher_is_better: bool

    @property
    def better(self) -> str | None:
        """The better method, or None if no difference is shown.

        A method is named only if the adjusted p is at most 0.05, the interval leaves out 0, and both point the same
        way: a few large differences can outweigh many small ones in the mean, but not in the test.
        """
        if self.adjusted_p <= ALPHA and (min(self.low, self.effect) > 0 or max(self.high, self.effect) < 0):
            return self.first if (self.difference > 0) == self.higher_is_better else self.second
        return None

    @property
    def verdict(self) -> str:
        """Which method is better, in words, or that no difference is shown, or that the images are too few."""
        if math.isnan(self.low):
            return "too few images"
        return f"{self.better} is better" if self.better else "no difference shown"

    def turned(self) -> "Comparison":
        """The same comparison with the second method first."""
        turned = replace(self, first=self.second, second=self.first, low=-self.high, high=-self.low)
        return replace(turned, difference=-self.difference, effect=-self.effect)


def compare(
    values: Tensor,
    names: Sequence[str],
    *,
    higher_is_better: bool,
    units: Tensor | None = None,
    pairs: Iterable[tuple[str, str]] | None = None,
    seed: int = 0,
) -> list[Comparison]:
    """Compare methods in pairs: mean difference, bootstrap interval, Wilcoxon's test with Holm's adjustment.

    Rows on which one of the two methods has no value are left out for this pair.

    Args:
        values: R×M, or R×M×S with a value for each seed, as for :func:`intervals`; NaN where there is no value. The
            test takes the means over the seeds.
        names: the names of the M methods.
        higher_is_better: whether higher values are better.
        units: the image of each row, R; None makes each row an image of its own.
        pairs: the pairs to return; None returns all. Holm's adjustment is always over all pairs of the M methods.
        seed: seed of the bootstrap.

    Returns:
        One comparison for each pair.

    Raises:
        CAMError: the shapes do not fit, a name is unknown, or a value is infinite.

    Example::

        from captum_cams import statistics

        for found in statistics.compare(torch.rand(40, 3), ["a", "b", "c"], higher_is_better=True):
            print(found.first, found.second, found.verdict)
    """
    if values.ndim not in (2, 3) or values.shape[1] != len(names) or len({*names}) != len(names):
        raise CAMError(f"values must be R×{len(names)} for {len(names)} different names, got {shape_of(values)}")
    place = {name: number for number, name in enumerate(names)}
    every = [*combinations(names, 2)]
    wanted = every if pairs is None else [*pairs]
    if unknown := [pair for pair in wanted if not {*pair} <= {*names} or pair[0] == pair[1]]:
        raise CAMError(f"a pair must be two different names of {', '.join(names)}, got {unknown[0]}")
    values = values.detach().double()
    columns = {(a, b): values[:, place[a]] - values[:, place[b]] for a, b in every}
    tests = {pair: signed_rank(column, units) for pair, column in columns.items()}
    adjusted = dict(zip(every, holm([p for p, _ in tests.values()]), strict=True))
    asked = [pair if pair in columns else pair[::-1] for pair in wanted]
    stacked = torch.stack([columns[pair] for pair in asked], 1) if asked else values[:, :0]
    found = []
    for pair, given, of in zip(wanted, asked, intervals(stacked, units, seed=seed), strict=True):
        p, effect = tests[given]
        one = Comparison(*given, of.mean, of.low, of.high, p, adjusted[given], effect, of.n, higher_is_better)
        found.append(one if given == pair else one.turned())
    return found


def signed_rank(differences: Tensor, units: Tensor | None = None) -> tuple[float, float]:
    """Test with Wilcoxon's signed ranks whether differences lie around 0.

    Wilcoxon ("Individual Comparisons by Ranking Methods", 1945), as scipy computes it, over the mean difference of each
    image. Images whose difference is 0 do not count.

    Args:
        differences: R differences, or R×S for S seeds, whose mean counts; NaN where there is none.
        units: the image of each row, R; None makes each row an image of its own.

    Returns:
        The two-sided p-value and the rank-biserial correlation (the sum of the ranks of positive differences minus that
        of negative ones, divided by both); 1 and 0 if all differences are 0, NaN if there is none at all.

    Raises:
        CAMError: the shapes do not fit, or a difference is infinite.

    Example::

        from captum_cams import statistics

        p, effect = statistics.signed_rank(torch.rand(40) - 0.5)
    """
    each = mean_over_seeds(differences) if differences.ndim == 2 else differences
    sums, counts = unit_sums(each[:, None], units)
    means = (sums / counts)[counts > 0]
    if not len(means):
        return math.nan, math.nan
    found = means[means != 0].numpy()
    if not len(found):
        return 1.0, 0.0
    places = rankdata(abs(found))
    effect = (places[found > 0].sum() - places[found < 0].sum()) / places.sum()
    return float(wilcoxon(found).pvalue), float(effect)


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p-values so that the chance of any false verdict among them stays below the level.

    Holm ("A Simple Sequentially Rejective Multiple Test Procedure", 1979): the k-th smallest of m is multiplied by
    m − k + 1, and is at least as large as those before it.

    Args:
        p: the p-values; NaN means that there was no test, and does not count.

    Returns:
        The adjusted p-values in the same order, at most 1.

    Example::

        from captum_cams import statistics

        print(statistics.holm([0.01, 0.04, 0.03]))  # [0.03, 0.06, 0.06]
    """
    order = sorted((i for i, value in enumerate(p) if not math.isnan(value)), key=p.__getitem__)
    adjusted, least = [math.nan] * len(p), 0.0
    for k, i in enumerate(order):
        least = max(least, min(1.0, p[i] * (len(order) - k)))
        adjusted[i] = least
    return adjusted
