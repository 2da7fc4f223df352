"""Bootstrap intervals of means: how far a mean moves if other images of the same kind are drawn."""

import math
from dataclasses import dataclass

import torch
from scipy.stats import norm
from scipy.stats import t as student
from torch import Tensor

from captum_cams.engine.generators import generator_of
from captum_cams.errors import CAMError, check_at_least
from captum_cams.statistics.seeds import mean_over_seeds, seed_deviations
from captum_cams.statistics.units import unit_sums

_DRAWN = 2**22  # random numbers in memory at a time, 32 MB


@dataclass(frozen=True)
class Interval:
    """A mean with the interval of its bootstrap.

    Args:
        mean: the mean of the values; NaN without any value.
        low: the lower end; NaN with too few images, for 95 % fewer than six.
        high: the upper end, or NaN.
        n: the number of images with a value.
        seed_deviation: the standard deviation over the seeds of the mean over the rows; 0 for values without seeds.

    Example::

        from captum_cams import statistics

        found = statistics.intervals(torch.rand(40, 1))[0]
        print(found.mean, found.low, found.high)
    """

    mean: float
    low: float
    high: float
    n: int
    seed_deviation: float = 0.0


def resampled_means(values: Tensor, units: Tensor | None = None, *, resamples: int = 10_000, seed: int = 0) -> Tensor:
    """Compute the means of all methods on images that are drawn with replacement.

    All methods have the same images in a resample, so that differences of the result are paired.

    Args:
        values: R×M, NaN where there is no value.
        units: the image of each row, R; None makes each row an image of its own.
        resamples: number of times that as many images are drawn as there are.
        seed: seed of the draws.

    Returns:
        The means, resamples×M in float64; NaN where no image with a value was drawn.

    Raises:
        CAMError: the shapes do not fit, or a value is infinite.

    Example::

        from captum_cams import statistics

        means = statistics.resampled_means(torch.rand(40, 2), resamples=1000)
        print((means[:, 0] > means[:, 1]).double().mean())
    """
    return means_of_draws(*unit_sums(values, units), resamples, seed)


def means_of_draws(sums: Tensor, counts: Tensor, resamples: int, seed: int) -> Tensor:
    """The means of resamples of units, resamples×M, from the sums and counts of each unit, U×M."""
    check_at_least("resamples", resamples, 1)
    number, generator = len(sums), generator_of(seed)
    both, parts = torch.cat((sums, counts), 1), []
    for size in torch.ones(resamples).split(max(1, _DRAWN // max(number, 1))):
        drawn = torch.randint(max(number, 1), (len(size), number), generator=generator)
        times = torch.zeros(drawn.shape, dtype=torch.float64)
        times.scatter_add_(1, drawn, torch.ones(()).double().expand(drawn.shape))  # how often each unit is drawn
        parts.append(times @ both)
    total, count = torch.cat(parts).chunk(2, 1)
    return total / count


def intervals(
    values: Tensor,
    units: Tensor | None = None,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> list[Interval]:
    """Compute the mean of each column with its bootstrap interval.

    The expanded percentile interval of Hesterberg ("What Teachers Should Know About the Bootstrap", The American
    Statistician 2015): the percentiles are those that make the interval as wide as Student's for normal values, because
    the plain percentile interval is too short for few images. For a difference of two methods, pass the differences.
    There is no interval if 2^(1 − n) is above 1 − level for n images, for 95 % with fewer than six: then even the
    smallest and the largest value enclose the median too rarely.

    Values of a method that draws random numbers come from S seeds. Their mean over the seeds is the value of a row. The
    interval then tells where the mean over all images and all seeds lies: Student's interval of the S means of the
    seeds is added to that of the images by the squares of their half widths (Zou and Donner, "Construction of
    Confidence Limits about Effect Measures", Statistics in Medicine 2008). It is a little wide where both are alike.

    Args:
        values: R×K, or R×K×S with a value for each seed; NaN where there is no value.
        units: the image of each row, R; None makes each row an image of its own.
        level: the share of such intervals that cover the true mean, between 0 and 1.
        resamples: number of resamples.
        seed: seed of the resamples.

    Returns:
        One interval for each column.

    Raises:
        CAMError: the shapes do not fit, a value is infinite, or ``level`` is not between 0 and 1.

    Example::

        from captum_cams import statistics

        ours, theirs = torch.rand(2, 40)
        print(statistics.intervals((ours - theirs)[:, None])[0])
    """
    if not 0 < level < 1:
        raise CAMError(f"level must be between 0 and 1, got {level}; for example 0.95")
    seeded = values if isinstance(values, Tensor) and values.ndim == 3 else None
    sums, counts = unit_sums(values if seeded is None else mean_over_seeds(seeded), units)
    deviations = [0.0] * sums.shape[1] if seeded is None else seed_deviations(seeded).tolist()
    wide = 0.0 if seeded is None else _half_width(level, seeded.shape[2])
    drawn = means_of_draws(sums, counts, resamples, seed)
    means, numbers = (sums.sum(0) / counts.sum(0)).tolist(), (counts > 0).sum(0).tolist()
    found = []
    for mean, n, column, deviation in zip(means, numbers, drawn.T, deviations, strict=True):
        low = high = math.nan
        if n > 1 and 2.0 ** (1 - n) <= 1 - level:
            tail = norm.cdf(math.sqrt(n / (n - 1)) * student.ppf((1 - level) / 2, n - 1))
            low, high = column.nanquantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
            if deviation:
                low = mean - math.hypot(mean - low, wide * deviation)
                high = mean + math.hypot(high - mean, wide * deviation)
        found.append(Interval(mean, low, high, n, deviation))
    return found


def _half_width(level: float, seeds: int) -> float:
    """Half of the width of Student's interval of the mean over some seeds, for a standard deviation of 1."""
    return -float(student.ppf((1 - level) / 2, seeds - 1)) / math.sqrt(seeds)
