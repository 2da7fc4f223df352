"""Relevance mass, relevance rank and top-k intersection against loops over pixels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import captum_cams as cc
from captum_cams import metrics

SIZE = (9, 12)
BOXES = [torch.tensor([[2, 3, 8, 7]]), torch.tensor([[0, 0, 4, 4], [2, 2, 6, 9]])]
FUNCTIONS = (metrics.relevance_mass, metrics.relevance_rank, metrics.top_k_intersection)


def drawn(seed: int) -> torch.Tensor:
    """Maps with ties and with negative values."""
    return torch.randn(2, 1, *SIZE, generator=torch.Generator().manual_seed(seed)).round(decimals=1)


def pixels(boxes: torch.Tensor) -> set[tuple[int, int]]:
    return {(y, x) for x0, y0, x1, y1 in boxes.tolist() for y in range(y0, y1) for x in range(x0, x1)}


def expected_share(map_: torch.Tensor, region: set[tuple[int, int]], count: int) -> float:
    """The probability-weighted share: pixels above the last value surely, those at it as often as there are places."""
    places = [(y, x) for y in range(SIZE[0]) for x in range(SIZE[1])]
    last = sorted((float(map_[place]) for place in places), reverse=True)[count - 1]
    surely = [place for place in places if map_[place] > last]
    maybe = [place for place in places if map_[place] == last]
    chance = (count - len(surely)) / len(maybe)
    return (sum(place in region for place in surely) + chance * sum(place in region for place in maybe)) / count


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 108))
def test_each_is_the_loop(seed, k):
    maps = drawn(seed)
    mass, rank = metrics.relevance_mass(maps, BOXES, SIZE), metrics.relevance_rank(maps, BOXES, SIZE)
    top = metrics.top_k_intersection(maps, BOXES, SIZE, k=k)
    for n, boxes in enumerate(BOXES):
        map_, region = maps[n, 0], pixels(boxes)
        inside = sum(max(0.0, float(map_[place])) for place in region)
        assert float(mass[n]) == pytest.approx(inside / float(map_[map_ > 0].sum()), rel=1e-5)
        assert float(rank[n]) == pytest.approx(expected_share(map_, region, len(region)), abs=1e-6)
        assert float(top[n]) == pytest.approx(expected_share(map_, region, k), abs=1e-6)


def test_ties_count_as_the_mean_over_random_orders():
    generator = torch.Generator().manual_seed(1)
    maps = torch.randint(0, 3, (1, 1, *SIZE), generator=generator).float()
    noisy = maps + 0.1 * torch.rand(4000, 1, *SIZE, generator=generator)  # breaks the ties
    found = metrics.relevance_rank(noisy, BOXES[:1] * 4000, SIZE)
    error = float(found.std()) / 4000**0.5
    assert float(metrics.relevance_rank(maps, BOXES[:1], SIZE)) == pytest.approx(float(found.mean()), abs=4 * error)
    constant = metrics.relevance_rank(torch.full((1, *SIZE), 0.4), BOXES[:1], SIZE)
    assert float(constant) == pytest.approx(24 / 108)


def test_mass_is_energy_exactly_if_the_minimum_is_zero():
    maps = drawn(2).relu()
    torch.testing.assert_close(metrics.relevance_mass(maps, BOXES, SIZE), metrics.energy_inside(maps, BOXES, SIZE))
    exact = metrics.region_mask(BOXES[0], SIZE)[None].float()
    for shift, mass in ((0.5, 24 * 1.5 / (24 * 1.5 + 84 * 0.5)), (-0.5, 1)):  # a constant counts, unless it is negative
        assert float(metrics.energy_inside(exact + shift, BOXES[:1], SIZE)) == 1
        assert float(metrics.relevance_mass(exact + shift, BOXES[:1], SIZE)) == pytest.approx(mass)
    signed = exact - 1 + exact  # −1 outside of the region, 1 inside of it
    signed[0, 8, :6] = -3  # evidence against the class makes the other pixels brighter for energy alone
    assert float(metrics.energy_inside(signed, BOXES[:1], SIZE)) < 0.5
    assert float(metrics.relevance_mass(signed, BOXES[:1], SIZE)) == 1


def test_a_map_that_is_the_region_is_perfect_and_one_beside_it_has_nothing():
    boxes, exact = [torch.tensor([[2, 3, 8, 7]])], torch.zeros(1, 1, *SIZE)
    exact[..., 3:7, 2:8] = 1
    assert [float(function(exact, boxes, SIZE)) for function in FUNCTIONS] == [1, 1, 1]
    assert [float(function(1 - exact, boxes, SIZE)) for function in FUNCTIONS] == [0, 0, 0]
    assert metrics.relevance_mass(-exact, boxes, SIZE) == 0
    outside = [torch.tensor([[20, 20, 30, 30]])]
    assert [float(function(exact, outside, SIZE)) for function in FUNCTIONS] == [0, 0, 0]


def test_masks_and_boxes_of_the_same_pixels_agree():
    maps = drawn(3)
    masks = [metrics.region_mask(boxes, SIZE)[None].float() for boxes in BOXES]
    for function in FUNCTIONS:
        assert torch.equal(function(maps, masks, SIZE), function(maps, BOXES, SIZE))


def test_two_percent_are_a_thousand_of_224_and_at_least_one():
    generator = torch.Generator().manual_seed(0)
    maps, region = torch.rand(1, 224, 224, generator=generator), [torch.tensor([[10, 10, 100, 150]])]
    given = metrics.top_k_intersection(maps, region, (224, 224), k=1000)
    assert torch.equal(metrics.top_k_intersection(maps, region, (224, 224)), given)
    assert metrics.top_k_intersection(torch.rand(1, 3, 3), [torch.tensor([[0, 0, 3, 3]])], (3, 3)) == 1
    for k, words in (
        (0, "at least 1"),
        (2.5, "integer"),
        (109, "at most the number of pixels of an image, 108, got 109"),
    ):
        with pytest.raises(cc.CAMError) as caught:
            metrics.top_k_intersection(drawn(0), BOXES, SIZE, k=k)
        assert words in str(caught.value)
    with pytest.raises(cc.CAMError, match="at least 1"):
        metrics.TopKIntersection(k=0)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_does_not_fit_is_explained(function):
    with pytest.raises(cc.CAMError, match="regions of 2 images"):
        function(torch.rand(3, *SIZE), BOXES, SIZE)
    with pytest.raises(cc.CAMError, match="maps must be finite"):
        function(torch.full((2, *SIZE), torch.inf), BOXES, SIZE)


def test_the_metrics_are_the_functions_over_uneven_batches():
    maps, boxes = torch.cat((drawn(3), drawn(4))), BOXES * 2
    shells = metrics.RelevanceMass(), metrics.RelevanceRank(), metrics.TopKIntersection(k=7)
    expected = [
        metrics.relevance_mass(maps, boxes, SIZE),
        metrics.relevance_rank(maps, boxes, SIZE),
        metrics.top_k_intersection(maps, boxes, SIZE, k=7),
    ]
    for shell, values in zip(shells, expected, strict=True):
        shell.update(maps[:1], boxes[:1], SIZE)
        shell.update(maps[1:], boxes[1:], SIZE)
        torch.testing.assert_close(shell.compute(), values.mean())
