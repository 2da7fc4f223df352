"""A map without spread is zeros at every size and for every consumer; a true spread, however small, is kept."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import captum_cams as cc
from captum_cams import metrics, visual
from captum_cams.images import heat, minmax, upsample
from lightning_callbacks.callback.drift import rank_correlation
from tests.support.explainers import ANY_LAYER, explainer
from tests.support.networks import SIDE, TinyVGG, seeded

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
SIZES = st.tuples(st.integers(1, 30), st.integers(1, 30))
MAGNITUDES = st.floats(1, 10).flatmap(lambda v: st.sampled_from([v, -v, v * 1e-30, -v * 1e-30, v * 1e30, v * 1e4]))
LARGE = st.sampled_from([(32, 32), (50, 37), (40, 56), (96, 96), (99, 33)])


@settings(max_examples=200, deadline=None)
@given(SIZES, LARGE, MAGNITUDES, st.sampled_from(DTYPES), st.booleans())
def test_constant_maps_stay_constant_at_every_size(small, size, value, dtype, aligned):
    maps = torch.full((2, 1, *small), value, dtype=torch.float64).to(dtype)
    assume(bool(maps.isfinite().all()))
    large = upsample(maps, size, aligned)
    assert large.shape[2:] == size
    assert bool((large == maps[0, 0, 0, 0]).all())
    assert not heat(maps, size, aligned).any()
    theirs = F.interpolate(maps, size, mode="bilinear")  # as Captum's LayerAttribution.interpolate gives it
    assert not heat(theirs, size).any()
    assert not minmax(theirs).any()


@settings(max_examples=100, deadline=None)
@given(SIZES, LARGE, st.floats(-1e6, 1e6), st.sampled_from(DTYPES[2:]), st.integers(0, 10**6))
def test_a_true_spread_is_kept_around_any_offset(small, size, offset, dtype, seed):
    """More than four steps of the float type apart, values differ; the heat map is that of the exact values."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randint(0, 64, (1, 1, *small), generator=generator).double()
    steps.view(-1)[0], steps.view(-1)[-1] = 0, 63
    maps = (offset + steps * 2 * torch.finfo(dtype).eps * max(abs(offset), 1e-3)).to(dtype)
    exact = minmax(maps.double() - maps.double().amin())
    found = heat(maps, size)
    if maps.numel() == 1:
        assert not found.any()
        return
    assert exact.any()
    expected = F.interpolate(exact, size, mode="bilinear")
    expected = (expected - expected.amin()) / (expected.amax() - expected.amin())
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-5)


def test_a_dead_map_beside_a_live_one_changes_neither():
    maps = torch.rand(3, 1, 5, 5)
    maps[1] = 0.3
    found = heat(maps, (33, 47))
    assert not found[1].any()
    torch.testing.assert_close(found[[0, 2]], minmax(F.interpolate(maps[[0, 2]], (33, 47), mode="bilinear")))


@pytest.mark.parametrize("shape", [(2, 1, 3), (2, 1, 3, 1, 5)])
def test_maps_of_one_and_three_axes(shape):
    maps = torch.full(shape, 0.3)
    assert not heat(maps, [29] * (len(shape) - 2)).any()


@settings(max_examples=12, deadline=None)
@given(SIZES, MAGNITUDES.filter(lambda v: abs(v) < 1e5), st.sampled_from(DTYPES))
def test_metrics_and_pictures_see_a_constant_map_as_nothing(small, value, dtype):
    x = torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    model = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(80, 5)))
    maps, size = torch.full((2, 1, *small), value, dtype=torch.float64).to(dtype), (32, 40)
    assume(bool(maps.isfinite().all()))
    zeros, box = torch.zeros(2, 1, 1, 1), [torch.tensor([[0, 0, 20, 32]])] * 2
    assert not metrics.complexity(x, maps).any()
    torch.testing.assert_close(metrics.average_drop(model, x, maps, 1), metrics.average_drop(model, x, zeros, 1))
    assert not metrics.energy_inside(maps, box, size).any()
    assert metrics.coherency(x, maps, lambda images, target: maps, 1).tolist() == [0.5, 0.5]
    assert metrics.coherency(x, torch.rand(2, 1, 5, 5), lambda images, target: maps, 1).tolist() == [0.5, 0.5]
    assert not metrics.region_overlap(maps, box, size)[:, 1:].any()
    assert metrics.pointing_game(maps, [torch.tensor([[0, 0, 1, 1]])] * 2, size).all()
    order = metrics.deletion_curve(model, x, maps, 1, preset="quick")
    torch.testing.assert_close(order, metrics.deletion_curve(model, x, zeros, 1, preset="quick"))
    torch.testing.assert_close(visual.overlay(x, maps), visual.overlay(x, zeros))


OF_PIXELS = (
    "lrp",
    "clrp",
    "sglrp",
    "fgcam",
    "guidedcam",
    "augmentedcam",
    "fullgrad",
    "xrai",
)  # the weights and borders there differ
BASELINES = ("random", "centre", "constant", "rise")
EVERYWHERE_CONSTANT = [name for name in ANY_LAYER if name not in BASELINES + OF_PIXELS]


def flat() -> nn.Module:
    """Every map is constant where the image is: no border, no overlap, a ReLU that stays on."""
    model = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    return seeded(lambda: model)


@pytest.mark.parametrize("name", EVERYWHERE_CONSTANT)
def test_a_uniform_image_has_a_uniform_map(name):
    x = torch.tensor([0.37, 1.13])[:, None, None, None].expand(2, 3, SIDE, SIDE)
    assert not explainer(name, flat(), "1").heatmap(x, [1, 2]).any()


def test_jittercam_of_equal_maps_is_uniform():
    class Even(cc.Constant):
        def maps(self, seen):
            return torch.full((len(seen.activation), 1, *seen.activation.shape[2:]), 0.3)

    model = seeded(lambda: TinyVGG(batch_norm=False))
    for growth in (1, 3, 5):
        cam = cc.JitterCAM(model, base=Even(model, "features.8"), growth=growth)
        found = cam.attribute(torch.rand(2, 3, SIDE, SIDE), 1)
        assert bool((found == found[0, 0, 0, 0]).all())


@pytest.mark.parametrize("name", ["gradcam", "layercam", "fdcam", "scorecam", "groupcam", "multilayercam"])
def test_a_map_of_one_position_shows_nothing(name):
    model = seeded(lambda: TinyVGG(batch_norm=False))
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    cam = explainer(name, model, "features.10")
    assert cam.attribute(x, [1, 2]).shape[2:] == (1, 1)
    assert not cam.heatmap(x, [1, 2]).any()


def test_a_map_without_spread_has_no_rank_correlation():
    noisy = 0.3 + torch.rand(7, 7) * 2e-8
    assert torch.isnan(torch.tensor(rank_correlation(noisy, torch.rand(7, 7))))
    assert torch.isnan(torch.tensor(rank_correlation(torch.rand(7, 7), noisy)))
