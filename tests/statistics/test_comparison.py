"""Comparisons against enumerated tests, Holm against the closed test that defines it, and false verdicts counted."""

import math
from itertools import chain, combinations, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import captum_cams as cc
from captum_cams import statistics
from captum_cams.engine.generators import generator_of

NAMES = ("one", "two", "three", "four")


def drawn(seed, images=40, methods=4):
    return torch.rand(images, methods, dtype=torch.float64, generator=generator_of(seed))


def enumerated(differences):
    """The p-value and the effect of the signed-rank test, from all signs that the differences could have."""
    size = [sorted(map(abs, differences)).index(abs(d)) + 1 for d in differences]
    positive = sum(rank for rank, d in zip(size, differences, strict=True) if d > 0)
    sums = [sum(r for r, sign in zip(size, signs, strict=True) if sign) for signs in product((0, 1), repeat=len(size))]
    as_far = sum(abs(s - sum(size) / 2) >= abs(positive - sum(size) / 2) for s in sums)
    return as_far / len(sums), (2 * positive - sum(size)) / sum(size)


@pytest.mark.parametrize("seed", range(5))
def test_signed_ranks_are_those_of_all_signs(seed):
    differences = drawn(seed, 8, 1)[:, 0] - 0.3
    p, effect = statistics.signed_rank(differences)
    expected = enumerated(differences.tolist())
    assert (p, effect) == (pytest.approx(expected[0]), pytest.approx(expected[1]))


def test_rows_of_one_image_are_one_difference():
    differences, images = drawn(0, 90, 1)[:, 0] - 0.4, torch.arange(90) % 30
    means = [float(differences[images == image].mean()) for image in range(30)]
    assert statistics.signed_rank(differences, images)[0] == pytest.approx(stats.wilcoxon(means).pvalue)


def test_nothing_to_test():
    assert statistics.signed_rank(torch.zeros(9)) == (1.0, 0.0)
    assert all(map(math.isnan, statistics.signed_rank(torch.full((9,), torch.nan))))
    some = torch.tensor([0.1, torch.nan, 0.0, 0.3, -0.2])
    assert statistics.signed_rank(some) == statistics.signed_rank(some[[0, 3, 4]])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_of_bonferroni(p):
    numbers = range(len(p))
    subsets = [*chain(*(combinations(numbers, size) for size in range(1, len(p) + 1)))]
    for i, adjusted in enumerate(statistics.holm(p)):
        closed = max(min(1.0, len(subset) * min(p[k] for k in subset)) for subset in subsets if i in subset)
        assert adjusted == pytest.approx(closed)


def test_holm_does_not_count_what_was_not_tested():
    assert statistics.holm([0.01, math.nan, 0.03])[::2] == [0.02, 0.03]
    assert math.isnan(statistics.holm([0.01, math.nan])[1])
    assert statistics.holm([]) == []


def test_compare_takes_each_pair_as_if_it_were_alone():
    values = drawn(1) + torch.tensor([0.0, 0.02, 0.2, 0.4])
    values[:5, 1] = torch.nan
    found = statistics.compare(values, NAMES, higher_is_better=True)
    tests = {}
    for one in found:
        both = values[:, [NAMES.index(one.first), NAMES.index(one.second)]]
        alone = both[both.isfinite().all(1)]
        difference = (alone[:, 0] - alone[:, 1]).tolist()
        tests[one.first, one.second] = stats.wilcoxon(difference).pvalue
        assert one.n == len(difference) == 40 - 5 * ("two" in (one.first, one.second))
        assert one.difference == pytest.approx(sum(difference) / len(difference))
        assert one.low < one.difference < one.high
        assert one.p == pytest.approx(tests[one.first, one.second])
    assert [*tests] == [*combinations(NAMES, 2)]
    assert [one.adjusted_p for one in found] == pytest.approx(statistics.holm([*tests.values()]))
    assert found[2].verdict == "four is better"
    assert found[0].verdict == "no difference shown"
    fewer_is_better = statistics.compare(values, NAMES, higher_is_better=False)
    assert fewer_is_better[2].better == "one"


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.floats(-0.3, 0.3))
def test_a_pair_turned_over_has_the_opposite_difference(seed, shift):
    values = drawn(seed, 25, 3) + torch.tensor([0, shift, 0])
    pairs = [("one", "two"), ("two", "one")]
    ours, theirs = statistics.compare(values, NAMES[:3], higher_is_better=True, pairs=pairs)
    assert (ours.first, ours.second) == pairs[0] == (theirs.second, theirs.first)
    assert (ours.difference, ours.low, ours.high) == (-theirs.difference, -theirs.high, -theirs.low)
    assert (ours.p, ours.adjusted_p, ours.effect) == (theirs.p, theirs.adjusted_p, -theirs.effect)
    assert ours.better == theirs.better
    whole = statistics.compare(values.flip(1), NAMES[:3][::-1], higher_is_better=True)[-1]  # two and one
    assert whole.difference == pytest.approx(theirs.difference)
    assert whole.low == pytest.approx(theirs.low)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 40))
def test_no_difference_is_shown_between_equal_methods(seed, images):
    values = drawn(seed, images, 1).expand(-1, 3)
    for one in statistics.compare(values, NAMES[:3], higher_is_better=True):
        assert one.verdict == ("no difference shown" if images > 5 else "too few images")
        assert (one.difference, one.adjusted_p) == (0, 1)


def test_the_mean_and_the_test_must_point_the_same_way():
    few_large = torch.cat((torch.full((90, 1), -0.01), torch.full((10, 1), 1.0)))
    values = torch.cat((few_large + 0.001 * drawn(0, 100, 1), torch.zeros(100, 1)), 1)
    one = statistics.compare(values, NAMES[:2], higher_is_better=True)[0]
    assert one.low > 0 > one.effect
    assert one.adjusted_p < 0.05
    assert one.verdict == "no difference shown"


def test_an_image_alone_is_too_few():
    one = statistics.compare(torch.tensor([[1.0, 0.0]]), NAMES[:2], higher_is_better=True)[0]
    assert math.isnan(one.low)
    assert one.verdict == "too few images"
    none = statistics.compare(torch.tensor([[1.0, torch.nan]]), NAMES[:2], higher_is_better=True)[0]
    assert none.n == 0
    assert none.verdict == "too few images"


@pytest.mark.slow
def test_holm_errs_in_at_most_5_of_100_experiments():
    """Four methods that are equal, and four of which two are equal: how often is a wrong difference named?"""
    shared = 3 * torch.randn(500, 40, 1, generator=generator_of(5))  # how easy each image is
    values = shared + torch.randn(500, 40, 4, generator=generator_of(6))
    pairs = [*combinations(range(4), 2)]
    wrong = {"all equal": 0, "two equal": 0, "without Holm": 0}
    for experiment in values:
        for name, shift in (("all equal", 0.0), ("two equal", 1.0)):
            shifted = experiment + shift * torch.tensor([0, 0, 1.0, 2.0])
            p = [statistics.signed_rank(shifted[:, a] - shifted[:, b])[0] for a, b in pairs]
            false = [k for k, pair in enumerate(pairs) if name == "all equal" or pair == (0, 1)]
            wrong[name] += any(statistics.holm(p)[k] <= 0.05 for k in false)
            wrong["without Holm"] += name == "all equal" and min(p) <= 0.05
    assert wrong["all equal"] <= 25
    assert wrong["two equal"] <= 25
    assert wrong["without Holm"] > 50


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"names": ["one"]}, "values must be R×1 for 1 different names, got 40×4"),
        ({"names": ["one", "one", "two", "three"]}, "4 different names"),
        ({"pairs": [("one", "five")]}, "must be two different names of one, two, three, four, got ('one', 'five')"),
        ({"pairs": [("one", "one")]}, "two different names"),
    ],
)
def test_mistakes_are_explained(change, words):
    with pytest.raises(cc.CAMError) as caught:
        statistics.compare(drawn(0), **{"names": NAMES, "higher_is_better": True} | change)
    assert words in str(caught.value)
