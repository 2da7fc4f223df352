"""XRAI against plain loops in NumPy, and what it refuses."""

import numpy as np
import pytest
import torch
from skimage.morphology import dilation, disk
from skimage.segmentation import felzenszwalb
from torch import nn

import captum_cams as cc
from captum_cams.methods.xrai import regions
from tests.support.networks import NETWORKS, images
from tests.support.untouched import same, state

STEPS = 6


def integrated(model, image, target, baseline):
    """Integrated gradients of an image C×H×W, one point of the path after the other."""
    points, weights = np.polynomial.legendre.leggauss(STEPS)
    total = torch.zeros_like(image)
    for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
        at = (baseline + point * (image - baseline)).requires_grad_()
        total += weight * torch.autograd.grad(model(at[None])[0, target], at)[0]
    return ((image - baseline) * total).detach().numpy()


def greedy(attribution, segments):
    """Take the best segment of those with 50 new pixels, and look at all of them again."""
    found, covered = np.full(attribution.shape, np.nan), np.zeros(attribution.shape, bool)
    while True:
        new = [segment & ~covered for segment in segments]
        gains = [attribution[part].mean() if part.sum() >= 50 else -np.inf for part in new]
        if max(gains) == -np.inf:
            break
        best = new[int(np.argmax(gains))]
        found[best] = max(gains)
        covered |= best
    if not covered.all():
        found[~covered] = attribution[~covered].mean()
    return found


def looped(model, image, target):
    lowest, highest = torch.full_like(image, float(image.min())), torch.full_like(image, float(image.max()))
    attribution = (integrated(model, image, target, lowest) + integrated(model, image, target, highest)) / 2
    values = ((image - image.min()) / (image.max() - image.min()) * 2 - 1).numpy().transpose(1, 2, 0)
    segments = []
    for scale in (50, 100, 150, 250, 500, 1200):
        labels = felzenszwalb(values, scale=scale, sigma=0.8, min_size=150)
        segments += [dilation(labels == label, disk(5)) for label in np.unique(labels)]
    return greedy(attribution.max(0), segments)


def blocks(count, channels=3, side=72):
    """Images of tiles with a little noise, which have segments, each image with its own tiles."""
    generator = torch.Generator().manual_seed(4)
    tiles = torch.rand(count, channels, 4, 4, generator=generator).double()
    noise = torch.rand(count, channels, side, side, generator=generator).double()
    return nn.functional.interpolate(tiles, (side, side)) + 0.1 * noise


def small(channels=3):
    torch.manual_seed(0)
    layers = nn.Conv2d(channels, 6, 5, 2), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32, 5)).double()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_map_is_that_of_plain_loops(channels):
    model, x, target = small(channels), blocks(2, channels), [1, 4]
    before = state(model)
    cam = cc.XRAI(model, steps=STEPS, perturbations_per_eval=4)
    found = cam.attribute(x, target)
    assert same(before, state(model))
    for n in range(2):
        expected = torch.from_numpy(looped(model, x[n], target[n]))
        assert len(expected.unique()) > 3
        # Captum keeps the weights of the quadrature in float32.
        torch.testing.assert_close(found[n, 0], expected, rtol=0, atol=1e-6 * float(expected.abs().max()))
        assert torch.equal(found[n : n + 1], cam.attribute(x[n : n + 1], target[n]))


@pytest.mark.parametrize("seed", range(5))
def test_segments_are_joined_as_in_a_loop(seed):
    generator = torch.Generator().manual_seed(seed)
    attribution = torch.randn(20, 24, generator=generator).double()
    segments = torch.zeros(30, 20, 24, dtype=torch.bool)
    for segment in segments[:25]:  # the last ones are empty
        top, left = (int(torch.randint(0, 16, (), generator=generator)) for _ in range(2))
        height, width = (int(torch.randint(3, 14, (), generator=generator)) for _ in range(2))
        segment[top : top + height, left : left + width] = True
    found = regions(attribution, segments)
    torch.testing.assert_close(found, torch.from_numpy(greedy(attribution.numpy(), segments.numpy())))
    torch.testing.assert_close(found.sum(), attribution.sum())
    assert len(found.unique()) > 2


def test_pixels_add_up_to_the_scores_between_both_baselines():
    model, x = small(), blocks(1)
    cam = cc.XRAI(model, steps=60)
    pixels = []
    cam.segments = lambda image: torch.ones(1, *image.shape[1:], dtype=torch.bool)
    explain = cam.pixels
    cam.pixels = lambda call, sample: pixels.append(explain(call, sample)) or pixels[0]
    found = cam.attribute(x, 2)
    torch.testing.assert_close(found, pixels[0].amax(0).mean().expand_as(found))
    with torch.no_grad():
        ends = model(torch.cat([torch.full_like(x, float(x.min())), torch.full_like(x, float(x.max()))]))[:, 2].mean()
        score = model(x)[0, 2]
    torch.testing.assert_close(pixels[0].sum(), score - ends, rtol=1e-3, atol=1e-4)


def test_pixels_in_half_precision_are_those_of_float():
    model, x = small().float(), blocks(1).float()

    def pixels(model, x):
        cam, kept = cc.XRAI(model, steps=4), []
        explain = cam.pixels
        cam.pixels = lambda call, sample: kept.append(explain(call, sample)) or kept[0]
        maps = cam.attribute(x, 2)
        assert maps.dtype == kept[0].dtype == torch.float32
        return kept[0]

    expected = pixels(model, x)
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = pixels(model, x)
    for found in (under_autocast, pixels(model.bfloat16(), x.bfloat16())):
        assert float((found - expected).abs().max()) <= 0.2 * float(expected.abs().max())


@pytest.mark.parametrize(("height", "width"), [(40, 40), (7, 5), (6, 40)])
def test_small_images_have_a_map(height, width):
    model, x = small(), blocks(2)[..., :height, :width]
    if min(height, width) < 9:
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
        model = model.double()
    found = cc.XRAI(model, steps=3).attribute(x, 1)
    assert found.shape == (2, 1, height, width)
    assert bool(found.isfinite().all())


def test_a_uniform_image_has_a_uniform_map():
    assert not cc.XRAI(small(), steps=2).heatmap(torch.full((1, 3, 40, 40), 0.3).double(), 1).any()


def test_what_does_not_suit_is_refused():
    model, x = NETWORKS["residual"](), images(1)
    for options, said in (
        ({"steps": 0}, "steps must be an integer of at least 1"),
        ({"min_size": 0}, "min_size must be an integer of at least 1"),
        ({"margin": -1}, "margin must be an integer of at least 0"),
        ({"perturbations_per_eval": 0}, "perturbations_per_eval must be"),
    ):
        with pytest.raises(cc.CAMError, match=said):
            cc.XRAI(model, **options)
    for options, said in (({"layer": "layer4"}, "got a layer; leave it out"), ({"reshape": "tokens"}, "got reshape=")):
        with pytest.raises(cc.CAMError, match=said):
            cc.XRAI(model, **options).attribute(x, 1)
    with pytest.raises(cc.CAMError, match="1 or 3 channels, got 2×4×9×9"):
        cc.XRAI(nn.Sequential(nn.Conv2d(4, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())).attribute(
            torch.rand(2, 4, 9, 9), 1
        )

    class Detached(nn.Module):
        def forward(self, images):
            return images.detach().mean((2, 3))

    with pytest.raises(cc.CAMError, match="the score must depend on the input"):
        cc.XRAI(Detached()).attribute(x, 1)
