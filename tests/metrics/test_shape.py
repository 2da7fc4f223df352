"""Sparseness, entropy and consistency against plain loops."""

import math
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import captum_cams as cc
from captum_cams import metrics
from captum_cams.metrics.functional.consistency import thumbnails

IMAGES = torch.zeros(3, 3, 9, 12)


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def magnitudes(map_: torch.Tensor) -> list[float]:
    large = F.interpolate(map_[None, None].double(), IMAGES.shape[2:], mode="bilinear")
    return large.abs().flatten().tolist()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), side=st.integers(2, 12))
def test_sparseness_is_the_mean_difference_of_all_pairs_of_pixels(seed, side):
    maps = random(seed, 3, side, side)
    for found, map_ in zip(metrics.sparseness(IMAGES, maps), maps, strict=True):
        values = magnitudes(map_)
        apart = sum(abs(a - b) for a in values for b in values) / len(values) ** 2
        assert float(found) == pytest.approx(apart / (2 * sum(values) / len(values)), rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), side=st.integers(2, 12))
def test_entropy_is_the_expected_surprise(seed, side):
    maps = random(seed, 3, side, side).relu()
    for found, map_ in zip(metrics.entropy(IMAGES, maps), maps, strict=True):
        values = magnitudes(map_)
        if sum(values):
            expected = sum(v / sum(values) * math.log(sum(values) / v) for v in values if v)
            assert float(found) == pytest.approx(expected, rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([-3.0, 1e-30, 1e30]))
def test_neither_depends_on_sign_and_scale(seed, scale):
    maps = random(seed, 3, 9, 12)
    for function in (metrics.sparseness, metrics.entropy):
        torch.testing.assert_close(function(IMAGES, scale * maps), function(IMAGES, maps), rtol=1e-5, atol=1e-6)


def test_one_pixel_and_all_pixels_are_the_ends():
    maps = torch.zeros(4, 1, 9, 12)
    maps[0, 0, 3, 5], maps[1], maps[2, 0, :2, :6] = 0.7, -0.1, 2.0
    images = torch.zeros(4, 3, 9, 12)
    total = 9 * 12
    sparse, spread = metrics.sparseness(images, maps), metrics.entropy(images, maps)
    torch.testing.assert_close(sparse, torch.tensor([1 - 1 / total, 0, 1 - 12 / total, 0]))
    torch.testing.assert_close(spread.exp(), torch.tensor([1.0, total, 12, total]))
    assert sparse[1] == sparse[3] == 0  # not only nearly


def scaled(map_: torch.Tensor) -> torch.Tensor:
    return (map_ - map_.min()) / (map_.max() - map_.min())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), shape=st.sampled_from([(16, 16), (48, 32), (7, 7), (5, 64)]))
def test_consistency_is_the_loop_over_the_other_maps(seed, shape):
    maps, classes = random(seed, 7, 1, *shape), [2, 0, 2, 2, 5, 0, 2]
    finer = [max(8, side) for side in shape]
    large = F.interpolate(maps, finer, mode="bilinear").double()
    blocks = large.view(7, 8, finer[0] // 8, 8, finer[1] // 8).mean((2, 4))
    for n, found in enumerate(metrics.consistency(maps, classes).tolist()):
        others = [m for m in range(7) if m != n and classes[m] == classes[n]]
        shared = []
        for m in others:
            pairs = [*zip(scaled(blocks[n]).flatten().tolist(), scaled(blocks[m]).flatten().tolist(), strict=True)]
            shared.append(sum(min(pair) for pair in pairs) / sum(max(pair) for pair in pairs))
        if others:
            assert found == pytest.approx(sum(shared) / len(shared), abs=2e-3)  # of 256 levels
        else:
            assert math.isnan(found)
        assert math.isnan(found) is (classes[n] == 5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_overlap_of_thumbnails_is_exact_in_every_order(seed):
    maps = random(seed, 6, 16, 16)
    small, classes = thumbnails(maps), torch.tensor([1, 1, 4, 1, 4, 1])
    assert torch.equal(small, small.round())
    assert (small.amin(1) == 0).all()
    assert (small.amax(1) == 255).all()
    expected = torch.zeros(6)
    for n in range(6):
        others = [small[m] for m in range(6) if m != n and classes[m] == classes[n]]
        each = [torch.minimum(small[n], b).sum() / torch.maximum(small[n], b).sum() for b in others]
        expected[n] = torch.stack(each).double().mean()
    found = metrics.consistency(maps, classes)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(metrics.consistency(maps[order], classes[order]), found[order], rtol=0, atol=1e-7)


def test_equal_maps_are_consistent_and_constant_maps_are_not():
    same, other = random(0, 1, 8, 8).expand(3, -1, -1), torch.zeros(3, 8, 8)
    assert metrics.consistency(same * torch.tensor([1.0, 3, 0.1])[:, None, None] + 5, [1, 1, 1]).tolist() == [1, 1, 1]
    assert metrics.consistency(other + 0.3, [1, 1, 1]).tolist() == [0, 0, 0]
    left, right = other.clone(), other.clone()
    left[:, :, :2], right[:, :, 6:] = 1, 1
    assert metrics.consistency(torch.cat((left[:1], right[:1])), [1, 1]).tolist() == [0, 0]
    mixed = metrics.consistency(torch.cat((same[:2], other[:1])), [1, 1, 1])
    assert mixed.tolist() == [0.5, 0.5, 0]


def test_classes_larger_than_one_block_of_comparisons(monkeypatch):
    maps, classes = random(3, 25, 6, 6), torch.arange(25) % 2
    whole = metrics.consistency(maps, classes)
    monkeypatch.setattr(sys.modules[thumbnails.__module__], "_AT_ONCE", 4)
    torch.testing.assert_close(metrics.consistency(maps, classes), whole, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("shape", "size"), [((1, 30), (64,)), ((1, 5, 3, 7), (4, 4, 4)), ((1, 9, 5), (8, 8))])
def test_thumbnails_have_64_pixels_whatever_the_axes(shape, size):
    maps = random(0, 2, *shape)
    small = thumbnails(maps)
    assert small.shape == (2, 64)
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    finer = [max(pair) for pair in zip(shape[1:], size, strict=True)]
    large = F.interpolate(maps, finer, mode=mode)
    pool = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}[len(size)]
    expected = torch.stack([scaled(one) for one in pool(large, size)]).flatten(1)
    assert float((small / 255 - expected).abs().max()) <= 0.5 / 255 + 1e-5


def test_volumes_and_signals_have_a_shape_too():
    for size in ((30,), (4, 5, 6)):
        inputs, maps = torch.zeros(2, 1, *size), random(1, 2, 1, *size)
        torch.testing.assert_close(
            metrics.sparseness(inputs, maps),
            metrics.sparseness(torch.zeros(2, 1, 1, maps[0].numel()), maps.reshape(2, 1, -1)),
        )


@pytest.mark.parametrize(
    ("maps", "classes", "words"),
    [
        (torch.zeros(2, 3, 4, 4), [1, 1], "sum over the channels"),
        (torch.zeros(0, 1, 4, 4), [], "at least one, got 0×1×4×4"),
        (torch.full((2, 4, 4), torch.nan), [1, 1], "maps must be finite, got NaN in samples 0, 1"),
        (torch.rand(2, 4, 4), [1], "one integer for each of the 2 maps, got [1]"),
        (torch.rand(2, 4, 4), [0.5, 1.0], "one integer for each"),
        (torch.rand(2, 4, 4).numpy(), [0, 1], "torch.from_numpy(maps)"),
    ],
)
def test_what_cannot_be_compared_is_explained(maps, classes, words):
    with pytest.raises(cc.CAMError) as caught:
        metrics.consistency(maps, classes)
    assert words in str(caught.value)


def test_the_metrics_are_the_functions_over_uneven_batches():
    maps, classes = random(4, 5, 1, 6, 6), [1, 3, 1, 1, 2]
    images = torch.zeros(5, 3, 12, 12)
    for shell, function in (
        (metrics.Sparseness(), metrics.sparseness),
        (metrics.Entropy(), metrics.entropy),
    ):
        for part in (slice(0, 2), slice(2, 5)):
            shell.update(images[part], maps[part])
        torch.testing.assert_close(shell.compute(), function(images, maps).mean())
    shell = metrics.Consistency()
    for _ in range(2):
        shell.update(maps[:2], classes[:2])
        assert shell.compute().isnan()
        shell.update(maps[2:], torch.tensor(classes[2:]))
        torch.testing.assert_close(shell.compute(), metrics.consistency(maps, classes).nanmean())
        shell.reset()
