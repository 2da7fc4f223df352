"""Split-half reliability of a ranking: whether other images would rank the methods alike."""

from dataclasses import dataclass

import torch
from torch import Tensor

from captum_cams.engine.generators import generator_of
from captum_cams.errors import check_at_least
from captum_cams.statistics.ranking import ranked
from captum_cams.statistics.units import complete

_DRAWN = 2**22  # random numbers in memory at a time


@dataclass(frozen=True)
class Reliability:
    """How far two halves of the images rank the methods alike.

    Args:
        half: the mean over many random splits of Spearman's correlation between the rankings of the two halves, −1 to
            1. A half that ranks all methods equal has a correlation of 0.
        whole: the reliability of the ranking by all images, 0 to 1, that the Spearman-Brown formula expects,
            2 half / (1 + half); 0 if the halves do not agree.
        splits: the number of random splits.

    Example::

        from captum_cams import statistics

        values = torch.rand(40, 3) + torch.tensor([0.0, 0.5, 1.0])
        print(statistics.reliability(values).whole)
    """

    half: float
    whole: float
    splits: int


def reliability(values: Tensor, units: Tensor | None = None, *, splits: int = 1000, seed: int = 0) -> Reliability:
    """Compute the split-half reliability of the ranking of methods by their means.

    The images are split into two halves at random, each half ranks the methods by their means, and the rankings are
    correlated (Spearman). Spearman ("Correlation Calculated from Faulty Data") and Brown, both 1910, give the step from
    half of the images to all. Rows that lack a value of any method are left out.

    Args:
        values: R×M, NaN where there is no value.
        units: the image of each row, R; None makes each row an image of its own. An image is never split.
        splits: number of random splits.
        seed: seed of the splits.

    Returns:
        The reliability of half of the images and of all.

    Raises:
        CAMError: the shapes do not fit, a value is infinite, there are fewer than two methods, or fewer than two images
            on which every method has a value.

    Example::

        from captum_cams import statistics

        print(statistics.reliability(torch.rand(40, 5)).half)  # near 0: nothing to rank
    """
    check_at_least("splits", splits, 1)
    sums, counts = complete(values, units)
    number, generator, found = len(sums), generator_of(seed), []
    for size in torch.ones(splits).split(max(1, _DRAWN // number)):
        first = torch.rand(len(size), number, generator=generator).argsort(1) < number // 2
        halves = [ranked((half @ sums) / (half @ counts), True) for half in (first.double(), (~first).double())]
        one, other = (ranks - ranks.mean(1, keepdim=True) for ranks in halves)
        scale = (one.square().sum(1) * other.square().sum(1)).sqrt()
        found.append(((one * other).sum(1) / scale).nan_to_num(0))
    half = float(torch.cat(found).mean())
    return Reliability(half, 2 * half / (1 + half) if half > 0 else 0.0, splits)
