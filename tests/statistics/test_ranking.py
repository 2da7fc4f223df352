"""Ranks, their reliability and their agreement against plain loops, scipy and new draws of the same images."""

import math
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import captum_cams as cc
from captum_cams import statistics
from captum_cams.engine.generators import generator_of

NAMES = ("one", "two", "three", "four")


def drawn(seed, images=30, methods=4):
    shift = torch.arange(methods) * 0.1
    return torch.rand(images, methods, dtype=torch.float64, generator=generator_of(seed)) + shift


def place(mine, of):
    """The rank of a value among others, best first: those above it, and half of those equal to it."""
    return sum(other > mine for other in of) + (sum(other == mine for other in of) + 1) / 2


def test_ranks_are_those_of_a_plain_loop():
    values = drawn(0)
    found = {one.method: one for one in statistics.ranks(values, NAMES, higher_is_better=True, resamples=400, seed=2)}
    chosen = torch.randint(30, (400, 30), generator=generator_of(2))
    means = [values[rows].mean(0).tolist() for rows in chosen]
    for column, name in enumerate(NAMES):
        again = sorted(place(each[column], each) for each in means)
        assert found[name].rank == place(values[:, column].mean(), values.mean(0))
        assert (found[name].low, found[name].high) == (again[math.floor(0.025 * 399)], again[math.ceil(0.975 * 399)])
        within = [place(row[column], row) for row in values.tolist()]
        assert found[name].mean_rank == pytest.approx(sum(within) / 30)
        assert found[name].mean == pytest.approx(float(values[:, column].mean()))
    assert [one.rank for one in statistics.ranks(values, NAMES, higher_is_better=True)] == [1, 2, 3, 4]
    turned = statistics.ranks(values, NAMES, higher_is_better=False)
    assert [one.method for one in turned] == [*NAMES]


def test_rows_without_a_value_of_each_method_do_not_count():
    values = drawn(1)
    values[:4, 2] = torch.nan
    options = {"names": NAMES, "higher_is_better": True}
    assert statistics.ranks(values, **options) == statistics.ranks(values[4:], **options)
    assert statistics.reliability(values) == statistics.reliability(values[4:])


def test_equal_methods_share_their_rank():
    values = torch.rand(50, 1, generator=generator_of(3)).expand(-1, 3)
    for one in statistics.ranks(values, NAMES[:3], higher_is_better=True):
        assert (one.rank, one.low, one.high, one.mean_rank) == (2, 2, 2, 2)
    assert statistics.reliability(values).half == statistics.reliability(values).whole == 0


def test_reliability_is_that_of_a_plain_loop():
    values, images = drawn(4, 24), torch.arange(24) // 2
    found = statistics.reliability(values, images, splits=30, seed=1)
    order = torch.rand(30, 12, generator=generator_of(1)).argsort(1)
    correlations = []
    for split in order:
        first = (split < 6)[images]
        halves = [values[rows].mean(0).numpy() for rows in (first, ~first)]
        correlations.append(float(stats.spearmanr(*halves).statistic))
    assert found.half == pytest.approx(sum(correlations) / 30)
    assert found.whole == pytest.approx(2 * found.half / (1 + found.half))


def test_spearman_and_brown_foresee_how_other_images_rank():
    """20 methods on 40 images: the correlation of the rankings of two data sets, and what one of them foresees."""
    generator, truth = generator_of(7), torch.linspace(0, 0.6, 20)
    foreseen, seen = [], []
    for _ in range(60):
        one, other = truth + torch.randn(2, 40, 20, generator=generator)
        foreseen.append(statistics.reliability(one, splits=50).whole)
        seen.append(float(stats.spearmanr(one.mean(0), other.mean(0)).statistic))
    assert 0.4 < sum(seen) / 60 < 0.9
    assert sum(foreseen) / 60 == pytest.approx(sum(seen) / 60, abs=0.05)


def test_critical_differences_are_those_of_demsar():
    """Table 5 and the example of section 3.2.2 of Demšar 2006."""
    quantiles = (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)
    for methods, quantile in enumerate(quantiles, 2):
        found = statistics.critical_difference(methods, 14)
        assert found == pytest.approx(quantile * math.sqrt(methods * (methods + 1) / (6 * 14)), rel=4e-4)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=7))
def test_kendalls_tau_counts_pairs(points):
    one, other = (list(map(float, side)) for side in zip(*points, strict=True))
    signs = [
        (math.copysign(a != b, a - b), math.copysign(c != d, c - d))
        for (a, c), (b, d) in combinations(zip(one, other, strict=True), 2)
    ]
    scale = math.sqrt(sum(a * a for a, _ in signs) * sum(b * b for _, b in signs))
    found = statistics.agreement({"one": one, "other": other})["one", "other"]
    assert found == pytest.approx(sum(a * b for a, b in signs) / scale) if scale else math.isnan(found)


def test_agreement_is_printed_and_leaves_out_methods_without_a_value():
    found = statistics.agreement({"a": [3, 2, 1, 9], "b": [1, 2, 3, math.nan], "c": [1, 1, 1, 1]})
    assert str(found).splitlines() == [
        "| Kendall τ | a | b | c |",
        "| --- | --- | --- | --- |",
        "| a | 1.00 | -1.00 | – |",
        "| b | -1.00 | 1.00 | – |",
        "| c | – | – | – |",
    ]
    with pytest.raises(cc.CAMError, match='unknown ranking "d"; there are a, b, c'):
        found["a", "d"]
    with pytest.raises(cc.CAMError, match="a number for the same methods, got 1 for a, 2 for b"):
        statistics.agreement({"a": [1.0], "b": [1.0, 2.0]})


@pytest.mark.parametrize(
    "goodness", [{"a": [1.0], "b": [2.0]}, {"a": [1.0, math.nan], "b": [math.nan, 2.0]}, {"a": []}]
)
def test_too_few_methods_agree_about_nothing(goodness):
    found = statistics.agreement(goodness)  # without a warning, which would be an error here
    assert all(math.isnan(tau) for row in found.taus for tau in row)
    assert str(found).splitlines()[2] == "| a |" + " – |" * len(goodness)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (torch.rand(5, 1), "values R×M of two or more methods, got 5×1; add a method"),
        (torch.rand(1, 2), "at least 2 images on which every method has a value, got 1"),
        (torch.full((5, 2), torch.nan), "at least 2 images on which every method has a value, got 0"),
    ],
)
def test_what_cannot_be_ranked_is_said(values, words):
    for action in (statistics.reliability, lambda v: statistics.ranks(v, NAMES[:2], higher_is_better=True)):
        with pytest.raises(cc.CAMError, match=words):
            action(values)
    with pytest.raises(cc.CAMError, match="a column for each of 2 names, got 4"):
        statistics.ranks(drawn(0), NAMES[:2], higher_is_better=True)
