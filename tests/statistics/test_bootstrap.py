"""Intervals against scipy's bootstrap, against a plain loop over the same draws, and in simulated experiments."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

import captum_cams as cc
from captum_cams import statistics
from captum_cams.engine.generators import generator_of


def test_resampled_means_are_those_of_a_plain_loop():
    values = torch.rand(12, 2, dtype=torch.float64, generator=generator_of(1))
    values[3, 0] = torch.nan
    images = torch.tensor([5, 5, 2, 2, 2, 9, 9, 1, 1, 1, 1, 7])
    found = statistics.resampled_means(values, images, resamples=50, seed=4)
    drawn = torch.randint(5, (50, 5), generator=generator_of(4))
    for means, chosen in zip(found, drawn, strict=True):
        rows = torch.cat([values[images == sorted({*images.tolist()})[i]] for i in chosen.tolist()])
        torch.testing.assert_close(means, rows.nanmean(0))


@pytest.mark.parametrize("size", [6, 20, 100])
def test_intervals_are_scipys_at_the_expanded_level(size):
    values = np.random.default_rng(size).gamma(2, size=size)
    quantile = math.sqrt(size / (size - 1)) * stats.t.ppf(0.975, size - 1)
    level = 1 - 2 * stats.norm.sf(quantile)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", confidence_level=level, n_resamples=40_000, rng=0)
    ours = statistics.intervals(torch.from_numpy(values)[:, None], resamples=40_000)[0]
    spread = values.std() / size**0.5
    assert ours.mean == pytest.approx(values.mean())
    assert ours.n == size
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.1 * spread)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.1 * spread)


def normal(generator, images, experiments):
    return torch.randn(images, experiments, generator=generator), 0.0


def skewed(generator, images, experiments):
    return -torch.rand(images, experiments, generator=generator).log(), 1.0  # exponential


def hits(generator, images, experiments):
    return (torch.rand(images, experiments, generator=generator) < 0.7).double(), 0.7


def paired(generator, images, experiments):
    shared = 5 * torch.randn(images, experiments, generator=generator)  # how easy each image is, for both methods
    ours, theirs = torch.randn(2, images, experiments, generator=generator).unbind()
    return (shared + ours + 0.3) - (shared + theirs), 0.3


@pytest.mark.parametrize(("draw", "images"), [(normal, 15), (normal, 60), (skewed, 60), (hits, 60), (paired, 30)])
def test_intervals_cover_the_truth_in_95_of_100_experiments(draw, images):
    values, truth = draw(generator_of(0), images, 500)
    found = statistics.intervals(values)
    covered = sum(each.low <= truth <= each.high for each in found) / 500
    assert 0.93 <= covered <= 0.97


def test_rows_of_one_image_are_no_independent_images():
    generator = generator_of(2)
    shared = torch.randn(30, 1, 500, generator=generator).expand(30, 6, 500)
    rows = (shared + 0.3 * torch.randn(30, 6, 500, generator=generator)).flatten(0, 1)
    images = torch.arange(30).repeat_interleave(6)
    covered = {}
    for name, units in (("images", images), ("rows", None)):
        covered[name] = sum(each.low <= 0 <= each.high for each in statistics.intervals(rows, units)) / 500
    assert 0.93 <= covered["images"] <= 0.97
    assert covered["rows"] < 0.7  # as if there were six times as many images


def test_there_is_no_interval_of_too_few_images():
    values = torch.rand(6, 3, generator=generator_of(0))
    values[:, 0], values[1:, 1] = torch.nan, torch.nan
    nothing, one, six = statistics.intervals(values)
    assert (nothing.n, one.n, six.n) == (0, 1, 6)
    assert one.mean == float(values[0, 1])
    assert all(math.isnan(value) for value in (nothing.mean, nothing.low, one.low, one.high))
    assert six.low < six.mean < six.high
    assert math.isnan(statistics.intervals(values[:5])[2].low)
    assert not math.isnan(statistics.intervals(values[:5], level=0.9)[2].low)
    assert statistics.intervals(torch.zeros(0, 1))[0].n == 0


def test_the_random_state_stays_and_the_seed_decides():
    before, values = torch.get_rng_state(), torch.linspace(0, 1, 20)[:, None] ** 2
    first, again, other = (statistics.intervals(values, seed=seed)[0] for seed in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    assert first == again != other


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"values": torch.rand(4)}, "values must be R×M, a row for each pair and a column for each method, got 4"),
        ({"values": [1.0]}, "values must be a tensor R×M, got list"),
        ({"values": torch.full((4, 1), torch.inf)}, "must be finite or NaN, got Inf"),
        ({"units": torch.arange(3)}, "units must be the image of each of 4 rows, got 3"),
        ({"level": 95}, "level must be between 0 and 1, got 95; for example 0.95"),
        ({"resamples": 0}, "resamples must be an integer of at least 1"),
    ],
)
def test_mistakes_are_explained(change, words):
    with pytest.raises(cc.CAMError) as caught:
        statistics.intervals(**{"values": torch.rand(4, 1)} | change)
    assert words in str(caught.value)
