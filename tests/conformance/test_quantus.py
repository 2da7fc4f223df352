"""Sparseness, entropy, relevance mass, relevance rank and top-k intersection beside Quantus'."""

import math

import numpy as np
import pytest
import torch

import captum_cams as cc
from captum_cams import metrics
from captum_cams.images import upsample
from tests.support.evaluation_run import network

quantus = pytest.importorskip("quantus", reason="pip install '.[conformance]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # Quantus warns of its own defaults

SIDE = 64
SIZE = (SIDE, SIDE)
BOXES = [
    torch.tensor([[4, 6, 30, 40]]),
    torch.tensor([[0, 0, 12, 60], [20, 8, 50, 20]]),
    torch.tensor([[40, 40, 64, 64]]),
]


@pytest.fixture(params=["gradcam", "signed", "noise"])
def maps(request) -> torch.Tensor:
    """Maps of the size of the images; "signed" has negative values, and "noise" is not smooth."""
    generator = torch.Generator().manual_seed(1)
    if request.param == "noise":
        return torch.rand(3, 1, *SIZE, generator=generator)
    if request.param == "signed":
        return upsample(torch.randn(3, 1, 9, 9, generator=generator), SIZE)
    images = torch.rand(3, 3, *SIZE, generator=generator)
    return upsample(cc.create(request.param, network()).attribute(images, [1, 2, 3]), SIZE)


def theirs(name: str, maps: torch.Tensor, *, regions: bool = False, **options) -> torch.Tensor:
    """The scores of a metric of Quantus, one image at a time, because it divides by the maximum of the whole batch."""
    metric = getattr(quantus, name)(disable_warnings=True, display_progressbar=False, **options)
    scores = []
    for n, map_ in enumerate(maps.double().numpy()):
        given = {"x_batch": np.zeros((1, 3, *SIZE)), "y_batch": np.zeros(1, dtype=int), "a_batch": map_[None].copy()}
        if regions:
            given["s_batch"] = metrics.region_mask(BOXES[n], SIZE)[None, None].numpy()
        scores += list(metric(model=None, **given))
    return torch.tensor(np.array(scores)).float()


def test_sparseness_is_quantus_without_its_epsilon(maps):
    values = maps.double().abs().flatten(1)
    values /= values.amax(1, keepdim=True)
    # Quantus adds 1e-7 to each pixel, which has no part in the differences but in the sum.
    part = values.sum(1) / (values.sum(1) + 1e-7 * values.shape[1])
    found = metrics.sparseness(torch.zeros(3, 3, *SIZE), maps)
    torch.testing.assert_close(found * part.float(), theirs("Sparseness", maps), rtol=0, atol=1e-6)
    assert float((found - theirs("Sparseness", maps)).abs().max()) < 1e-4


def test_entropy_is_the_complexity_of_quantus(maps):
    found = metrics.entropy(torch.zeros(3, 3, *SIZE), maps)
    torch.testing.assert_close(found, theirs("Complexity", maps), rtol=0, atol=1e-5)


def test_mass_is_that_of_quantus_for_the_positive_values(maps):
    found = metrics.relevance_mass(maps, BOXES, SIZE)
    torch.testing.assert_close(found, theirs("RelevanceMassAccuracy", maps.relu(), regions=True), rtol=0, atol=1e-6)


def without_ties(maps: torch.Tensor) -> torch.Tensor:
    """The maps without ties, which Quantus' sorting leaves in no order that is said."""
    order = maps.flatten(1).argsort(dim=1, stable=True)
    places = torch.arange(order.shape[1]).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view_as(maps).float()


def test_rank_and_top_k_are_those_of_quantus_for_maps_without_ties(maps):
    distinct = without_ties(maps)
    found = metrics.relevance_rank(distinct, BOXES, SIZE)
    torch.testing.assert_close(found, theirs("RelevanceRankAccuracy", distinct, regions=True), rtol=0, atol=1e-6)
    for k in (1, 100, 1000):
        found = metrics.top_k_intersection(distinct, BOXES, SIZE, k=k)
        given = theirs("TopKIntersection", distinct, regions=True, k=k)
        torch.testing.assert_close(found, given, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("value", "words"), [(0.0, "all equal to zero"), (0.3, "uniformly distributed")])
def test_quantus_refuses_constant_maps_which_have_their_limits_here(value, words):
    maps, images = torch.full((3, 1, *SIZE), value), torch.zeros(3, 3, *SIZE)
    for name in ("Complexity", "Sparseness"):
        with pytest.raises(AssertionError, match=words):
            theirs(name, maps)
    every = math.log(maps[0].numel())
    torch.testing.assert_close(metrics.entropy(images, maps), torch.full((3,), every), rtol=0, atol=1e-5)
    torch.testing.assert_close(metrics.sparseness(images, maps), torch.zeros(3), rtol=0, atol=1e-5)
