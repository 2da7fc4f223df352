"""Colours of overlays against matplotlib's, worked out pixel by pixel."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import captum_cams as cc
from captum_cams import visual
from tests.support.pictures import PLAIN, SIGNED, covered, plain

RED, GREEN, BLUE = torch.eye(3)


def test_the_normalisation_is_undone_channel_by_channel():
    colours = torch.tensor([[0.1, 0.4, 0.9], [0.8, 0.2, 0.3]])
    mean, std = (0.5, 0.4, 0.3), (0.1, 0.2, 0.4)
    seen = (plain(*colours) - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(visual.displayable(seen, mean, std), plain(*colours))
    bright = torch.full((1, 3, 2, 2), 9.0)
    assert torch.equal(visual.displayable(bright, mean, std), torch.ones(1, 3, 2, 2))


def test_without_a_normalisation_each_image_has_its_own_range():
    images = torch.stack((torch.arange(12.0), 5 * torch.arange(12.0) - 7)).reshape(2, 3, 2, 2)
    expected = (torch.arange(12.0) / 11).reshape(3, 2, 2)
    torch.testing.assert_close(visual.displayable(images), torch.stack((expected, expected)))


@pytest.mark.parametrize("channels", [1, 2])
def test_other_numbers_of_channels_are_grey(channels):
    images = torch.rand(2, channels, 4, 5, generator=torch.Generator().manual_seed(0))
    zeros, ones = [0.0] * channels, [1.0] * channels
    found = visual.displayable(images, zeros, ones)
    torch.testing.assert_close(found, images.mean(1, keepdim=True).expand(2, 3, 4, 5))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("colormap", [None, "viridis"])
def test_each_map_covers_its_own_image_as_much_as_it_says(alpha, colormap):
    images = plain(RED, BLUE, side=2)
    maps = torch.tensor([[[0.0, 1.0], [2.0, 4.0]], [[4.0, 3.0], [1.0, 0.0]]])
    found = visual.overlay(images, maps, alpha, colormap)
    kind = PLAIN if colormap is None else (colormap, 0.0, 1.0)
    for image, map_, colour in zip(found, maps, (RED, BLUE), strict=True):
        for row in range(2):
            for column in range(2):
                expected = covered(colour, float(map_[row, column]) / 4, alpha, kind)
                torch.testing.assert_close(image[:, row, column], expected)
    assert torch.equal(visual.overlay(images, maps[:, None], alpha, colormap), found)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.booleans())
def test_the_photograph_stays_where_the_map_is_zero(seed, signed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 3, 12, 9, generator=generator)
    maps = torch.rand(2, 12, 9, generator=generator) - 0.5
    maps[maps.abs() < 0.25] = 0
    maps = maps if signed else maps.relu()
    found = visual.overlay(images, maps, smoothing=0)
    zero = (maps == 0)[:, None].expand_as(images)
    assert zero.any()
    assert torch.equal(found[zero], images[zero])
    assert (found[~zero] != images[~zero]).float().mean() > 0.9


def test_a_signed_map_has_zero_in_the_middle_whatever_its_ends():
    images, grey = torch.full((1, 3, 2, 2), 0.5), torch.full((3,), 0.5)
    found = visual.overlay(images, torch.tensor([[[-1.0, 0.0], [2.0, 4.0]]]))[0]
    for place, value in (((0, 0), -0.25), ((0, 1), 0.0), ((1, 0), 0.5), ((1, 1), 1.0)):
        torch.testing.assert_close(found[:, place[0], place[1]], covered(grey, value, kind=SIGNED))
    assert found[2, 0, 0] > found[0, 0, 0]  # blue below zero
    assert found[0, 1, 1] > found[2, 1, 1]  # red above


def test_the_sign_may_be_declared():
    images, grey = torch.full((1, 3, 2, 2), 0.5), torch.full((3,), 0.5)
    rising = torch.tensor([[[0.0, 1.0], [2.0, 4.0]]])
    torch.testing.assert_close(visual.overlay(images, rising, signed=True)[0, :, 1, 0], covered(grey, 0.5, kind=SIGNED))
    mixed = torch.tensor([[[-8.0, 0.0], [2.0, 4.0]]])
    found = visual.overlay(images, mixed, signed=False)[0]
    assert torch.equal(found[:, 0], images[0, :, 0])
    torch.testing.assert_close(found[:, 1, 0], covered(grey, 0.5))


def lightness(colours: torch.Tensor) -> torch.Tensor:
    """CIE L* of colours in sRGB."""
    linear = torch.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear.double() @ torch.tensor([0.2126, 0.7152, 0.0722], dtype=torch.float64)
    return torch.where(luminance > 0.008856, 116 * luminance ** (1 / 3) - 16, 903.3 * luminance)


def test_lightness_grows_evenly_and_signed_arms_darken_alike():
    rising = lightness(visual.palette(signed=False))
    assert (rising.diff() >= 0).all()
    steps = rising[::32].diff()
    assert steps.max() < 2 * steps.min()
    arms = lightness(visual.palette(signed=True))
    assert (arms[:128].diff() >= -0.5).all()  # up to rounding between the nodes of the map
    assert (arms[128:].diff() <= 0.5).all()
    assert abs(arms[0] - arms[-1]) < 5
    assert arms[127] > 95


def test_a_coarse_map_is_hot_where_it_is_large():
    maps = torch.zeros(2, 4, 4)
    maps[0, 0, 3] = maps[1, 3, 1] = 1
    found = visual.overlay(torch.zeros(2, 3, 16, 16), maps, alpha=1.0, colormap="gray")[:, 0]
    places = [divmod(int(one.argmax()), 16) for one in found]
    assert [(row // 4, column // 4) for row, column in places] == [(0, 3), (3, 1)]


def test_a_map_of_a_region_leaves_the_rest_of_the_photograph():
    photograph, map_ = torch.rand(1, 3, 30, 40, generator=torch.Generator().manual_seed(0)), torch.rand(1, 1, 5, 5)
    found = visual.overlay(photograph, map_, region=(8, 3, 28, 23))
    inside = visual.overlay(photograph[..., 3:23, 8:28], map_)
    expected = photograph.clone()
    expected[..., 3:23, 8:28] = inside
    assert torch.equal(found, expected)
    for wrong in ((8, 3, 8, 23), (0, 0, 41, 30), (-1, 0, 4, 4), (0, 0, 4)):
        with pytest.raises(cc.CAMError, match="region must be"):
            visual.overlay(photograph, map_, region=wrong)


def test_wrong_colours_are_refused():
    images, maps = torch.rand(1, 3, 4, 4), torch.rand(1, 4, 4)
    with pytest.raises(cc.CAMError, match="colour map of matplotlib"):
        visual.overlay(images, maps, colormap="jetter")
    with pytest.raises(cc.CAMError, match="alpha must be from 0"):
        visual.overlay(images, maps, alpha=2)
