"""Values from several seeds: their spread against plain loops, and their intervals in simulated experiments."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from captum_cams import statistics
from captum_cams.engine.generators import generator_of


def crossed(images, seeds, experiments, of_seeds, generator):
    """Values whose mean is 0: an effect of each image, an effect of each seed on all images, and noise."""
    each = torch.randn(images, experiments, 1, generator=generator)
    all_images = of_seeds * torch.randn(1, experiments, seeds, generator=generator)
    return each + all_images + 0.3 * torch.randn(images, experiments, seeds, generator=generator)


@pytest.mark.parametrize(("seeds", "of_seeds"), [(3, 0.0), (3, 2.0), (8, 1.0)])
def test_intervals_cover_the_mean_over_all_images_and_all_seeds(seeds, of_seeds):
    values = crossed(30, seeds, 500, of_seeds, generator_of(seeds))
    covered = sum(one.low <= 0 <= one.high for one in statistics.intervals(values, resamples=1000)) / 500
    assert 0.93 <= covered <= 0.97
    if of_seeds:
        plain = statistics.intervals(values.mean(2), resamples=1000)
        assert sum(one.low <= 0 <= one.high for one in plain) / 500 < 0.7


def test_the_interval_adds_the_squares_of_half_widths():
    values = crossed(12, 3, 2, 0.5, generator_of(7)).double()
    values[2, 0, 1] = torch.nan
    images = torch.arange(12) // 2
    for column, found in enumerate(statistics.intervals(values, images)):
        rows = np.array([[x for x in row if x == x] for row in values[:, column].tolist()], dtype=object)
        plain = torch.tensor([[sum(row) / len(row)] for row in rows], dtype=torch.float64)
        of_images = statistics.intervals(plain, images)[0]
        means = np.nanmean(values[:, column].numpy(), 0)
        half = stats.t.ppf(0.975, 2) * means.std(ddof=1) / 3**0.5
        assert found.seed_deviation == pytest.approx(means.std(ddof=1))
        assert (found.mean, found.n) == (pytest.approx(of_images.mean), 6)
        for end, inner in ((found.low, of_images.low), (found.high, of_images.high)):
            assert abs(end - found.mean) == pytest.approx(((inner - found.mean) ** 2 + half**2) ** 0.5)


def test_equal_values_of_all_seeds_are_values_without_seeds():
    values = torch.rand(20, 3, dtype=torch.float64, generator=generator_of(1))
    seeded = values[..., None].expand(-1, -1, 5)
    for one, other in zip(statistics.intervals(values), statistics.intervals(seeded), strict=True):
        assert other.seed_deviation == 0
        assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high), rel=1e-12)
    options = {"names": "abc", "higher_is_better": True}
    for one, other in zip(statistics.compare(values, **options), statistics.compare(seeded, **options), strict=True):
        assert (one.p, one.low, one.adjusted_p) == pytest.approx((other.p, other.low, other.adjusted_p), rel=1e-9)


def test_a_difference_that_depends_on_the_seed_is_not_shown():
    values = torch.rand(40, 2, 3, dtype=torch.float64, generator=generator_of(2))
    values[:, 1] = values[:, 1, :1]
    values[:, 0] = 0.99 * values[:, 1] + 0.05 + torch.tensor([-0.3, 0.0, 0.4])  # each image has a higher mean
    options = {"names": ["drawn", "fixed"], "higher_is_better": True}
    seeded, of_means = (statistics.compare(one, **options)[0] for one in (values, values.mean(2)))
    assert seeded.p == pytest.approx(of_means.p)
    assert seeded.difference == pytest.approx(of_means.difference)
    assert of_means.verdict == "drawn is better"
    assert seeded.verdict == "no difference shown"


def test_one_seed_says_nothing_about_all_seeds():
    found = statistics.intervals(torch.rand(20, 1, 1))[0]
    assert math.isnan(found.seed_deviation)
    assert math.isnan(found.low)
