"""Values of methods that draw random numbers, from several seeds: their mean and their spread."""

import torch
from torch import Tensor


def mean_over_seeds(values: Tensor) -> Tensor:
    """The value of each row, R or R×K, from values R×S or R×K×S; seeds without a value there do not count."""
    return values.detach().double().nanmean(-1)


def seed_deviations(values: Tensor) -> Tensor:
    """The standard deviation over the seeds of the means over the rows, K, from values R×K×S.

    It is 0 for values that do not depend on the seed, and NaN if fewer than two seeds have a value.
    """
    means = values.detach().double().nanmean(0)
    centre, counts = means.nanmean(1), means.isfinite().sum(1)
    found = ((means - centre[:, None]).square().nansum(1) / (counts - 1)).sqrt().where(counts > 1, torch.nan)
    return torch.where(found <= 1e-12 * centre.abs(), 0.0, found)  # the rounding of a mean is no deviation
