"""Rank methods over images, with the interval of each rank."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.stats import rankdata, studentized_range
from torch import Tensor

from captum_cams.errors import CAMError, check_at_least
from captum_cams.statistics.bootstrap import means_of_draws
from captum_cams.statistics.units import complete


@dataclass(frozen=True)
class Rank:
    """The place of one method among the others; 1 is the best, and equal methods share the mean of their places.

    Args:
        method: the name of the method.
        mean: the mean over the rows on which every method has a value.
        rank: the rank of this mean.
        low: the best rank of the 95 % bootstrap interval.
        high: the worst rank of this interval.
        mean_rank: the mean over the images of the rank within each image.

    Example::

        from captum_cams import statistics

        for found in statistics.ranks(torch.rand(40, 3), ["a", "b", "c"], higher_is_better=True):
            print(found.rank, found.method, found.low, found.high, found.mean_rank)
    """

    method: str
    mean: float
    rank: float
    low: float
    high: float
    mean_rank: float


def ranks(
    values: Tensor,
    names: Sequence[str],
    *,
    higher_is_better: bool,
    units: Tensor | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> list[Rank]:
    """Rank the methods by their means, and show how far each rank moves if the images are drawn again.

    Rows that lack a value of any method are left out.

    Args:
        values: R×M, NaN where there is no value.
        names: the names of the M methods.
        higher_is_better: whether the highest mean has rank 1.
        units: the image of each row, R; None makes each row an image of its own.
        resamples: number of resamples.
        seed: seed of the resamples.

    Returns:
        The ranks, best first.

    Raises:
        CAMError: the shapes do not fit, a value is infinite, there are fewer than two methods, or fewer than two images
            on which every method has a value.

    Example::

        from captum_cams import statistics

        print(statistics.ranks(torch.rand(40, 2), ["ours", "theirs"], higher_is_better=False)[0].method)
    """
    sums, counts = complete(values, units)
    if len(names) != values.shape[1]:
        raise CAMError(f"values must have a column for each of {len(names)} names, got {values.shape[1]}")
    means = sums.sum(0) / counts.sum(0)
    drawn = ranked(means_of_draws(sums, counts, resamples, seed), higher_is_better)
    # A rank between two ranks would be none, so the interval is made of ranks that were drawn.
    low = drawn.quantile(0.025, 0, interpolation="lower")
    high = drawn.quantile(0.975, 0, interpolation="higher")
    whole, within = ranked(means[None], higher_is_better)[0], ranked(sums / counts, higher_is_better).mean(0)
    columns = (means, whole, low, high, within)
    found = [Rank(name, *row) for name, row in zip(names, torch.stack(columns, 1).tolist(), strict=True)]
    return sorted(found, key=lambda rank: rank.rank)


def ranked(values: Tensor, higher_is_better: bool) -> Tensor:
    """The rank of each value within its row, 1 for the best; equal values share the mean of their ranks."""
    single = (-values if higher_is_better else values).float()  # the rounding of a sum must not part equal methods
    return torch.from_numpy(rankdata(single.numpy(), axis=1))


def critical_difference(methods: int, images: int, alpha: float = 0.05) -> float:
    """Compute how far two mean ranks must differ so that the methods differ, by Nemenyi's test.

    Demšar ("Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 2006, section 3.2.2):
    q_α √(k (k + 1) / (6 N)) for k methods and N images.

    Args:
        methods: number of methods, at least 2.
        images: number of images, at least 1.
        alpha: the error rate over all pairs.

    Returns:
        The critical difference, in ranks.

    Raises:
        CAMError: a number is too small.

    Example::

        from captum_cams import statistics

        print(statistics.critical_difference(4, 14))  # 1.25, as in Demšar's example
    """
    check_at_least("methods", methods, 2)
    check_at_least("images", images, 1)
    quantile = float(studentized_range.ppf(1 - alpha, methods, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(methods * (methods + 1) / (6 * images))
