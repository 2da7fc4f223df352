"""Changes of the intensities in AugmentedCAM, against their formulas and in the values of normalised images."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from scipy.signal import wiener

import captum_cams as cc
from captum_cams.images import upsample
from captum_cams.wrappers.augmentedcam import INTENSITY, PLANE
from tests.support.networks import NETWORKS, images
from tests.support.refusals import said

CHANGES = {"contrast": 0.6, "gamma": 1.7, "equalise": True, "window": 3}
MEAN, STD = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.25]).view(3, 1, 1)
RANGE = tuple(((bound - MEAN) / STD).flatten().tolist() for bound in (0, 1))


def picture(seed=0, channels=3, size=24):
    return torch.rand(channels, size, size, generator=torch.Generator().manual_seed(seed))


def test_contrast_gamma_and_equalisation_are_their_formulas():
    image = picture()
    grey = (image * torch.tensor([0.2989, 0.587, 0.114]).view(3, 1, 1)).sum(0).mean()
    expected = (0.6 * image + 0.4 * grey).clamp(0, 1)
    torch.testing.assert_close(cc.Transformation(contrast=0.6).recoloured(image), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(cc.Transformation(gamma=1.7).recoloured(image), image**1.7)
    levels = (image * 90).to(torch.uint8)
    expected = ImageOps.equalize(Image.fromarray(levels.movedim(0, -1).numpy()))
    found = cc.Transformation(equalise=True).recoloured(levels / 255) * 255
    np.testing.assert_allclose(found.movedim(0, -1).numpy(), np.asarray(expected), atol=1e-3)


def test_the_adaptive_filter_is_scipys_inside_and_keeps_edges():
    image = picture(3).double()
    image[:, :, 12:] += 20
    found = cc.Transformation(window=5).recoloured(image / 21) * 21
    for channel, map_ in zip(image.numpy(), found.numpy(), strict=True):
        padded = np.pad(channel, 2, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
        expected = wiener(channel, 5, windows.var((2, 3)).mean())
        np.testing.assert_allclose(map_[2:-2, 2:-2], expected[2:-2, 2:-2], atol=1e-6)
    assert float((found - image)[:, :, 11:13].abs().max()) < 2  # of 20; a mean would move it by 8
    assert found[:, :, :9].var() < image[:, :, :9].var() / 4


@pytest.mark.parametrize("key", CHANGES)
def test_a_map_of_changed_intensities_is_that_of_the_changed_image(key):
    model, change = NETWORKS["residual"](), cc.Transformation(**{key: CHANGES[key]})
    x = torch.stack([picture(seed, size=40) for seed in range(2)])
    normalised = (x - MEAN) / STD
    changed = torch.stack([(change.recoloured(image) - MEAN) / STD for image in x])
    expected = upsample(cc.GradCAM(model).attribute(changed, [1, 7]), (40, 40))
    cam = cc.AugmentedCAM(model, base="gradcam", transformations=[change], pixel_range=RANGE)
    close = {"rtol": 1e-3, "atol": 1e-3 * float(expected.max())}
    torch.testing.assert_close(cam.attribute(normalised, [1, 7]), expected, **close)
    own = cc.AugmentedCAM(model, base="gradcam", transformations=[change])  # of an image that fills its range
    filled = x.clone()
    filled[:, 0, 0, 0], filled[:, 0, 0, 1] = 0, 1
    changed = torch.stack([change.recoloured(image) for image in filled])
    expected = upsample(cc.GradCAM(model).attribute(changed * 5 - 2, 3), (40, 40))
    close["atol"] = 1e-3 * float(expected.max())
    torch.testing.assert_close(own.attribute(filled * 5 - 2, 3), expected, **close)


@settings(max_examples=20, deadline=None)
@example(contrast=0.0, gamma=1.6560439875041768, equalise=False, window=3, seed=51, constant=False)
@given(st.floats(0, 3), st.floats(0.1, 4), st.booleans(), st.sampled_from([1, 3, 7]), st.integers(0, 99), st.booleans())
def test_intensities_stay_in_their_range(contrast, gamma, equalise, window, seed, constant):
    change = cc.Transformation(contrast=contrast, gamma=gamma, equalise=equalise, window=window)
    image = torch.full((3, 9, 9), seed / 99) if constant else picture(seed, size=9)
    changed = change.recoloured(image)
    assert changed.isfinite().all()
    assert -1e-6 <= changed.min() <= changed.max() <= 1 + 1e-6


def test_a_constant_image_stays_as_it_is():
    model, x = NETWORKS["plain"](), torch.full((1, 3, 40, 40), 0.7)
    found = cc.AugmentedCAM(model, transformations=INTENSITY).attribute(x, 1, relu_attributions=False)
    expected = upsample(cc.GradCAM(model).attribute(x, 1), (40, 40))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.max()) + 1e-8)


def test_the_plane_moves_after_the_intensities_and_both_average():
    model, x = NETWORKS["plain"](), images(1)
    both, plain = ([cc.Transformation(flip=flip, gamma=0.6)] for flip in (True, False))
    found = cc.AugmentedCAM(model, transformations=both).attribute(x, 1)
    expected = cc.AugmentedCAM(model, transformations=plain).attribute(x.flip(3), 1).flip(3)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.max()))
    assert len(PLANE + INTENSITY) == 16
    assert not any(change.recolours for change in PLANE)
    assert all(change.recolours for change in INTENSITY)


def test_what_does_not_fit_is_refused():
    model = NETWORKS["plain"]()
    for wrong in ({"contrast": -1}, {"contrast": float("nan")}, {"gamma": 0}, {"window": 2}, {"window": 0.5}):
        assert f"{next(iter(wrong))} must be" in said(lambda wrong=wrong: cc.Transformation(**wrong))
    cam = cc.AugmentedCAM(model, transformations=[cc.Transformation(gamma=2)], pixel_range=(0, 1))
    assert "must lie in pixel_range, got -" in said(cam.attribute, images(1) - 9, 1)
    assert "low < high" in said(lambda: cc.AugmentedCAM(model, pixel_range=(1, 0)))
    assert "one or three channels" in said(cc.Transformation(contrast=2).recoloured, picture(channels=4))
