"""What replaces removed pixels, against plain loops."""

import numpy as np
import pytest
import torch
from torch import nn

from captum_cams import CAMError, metrics
from captum_cams.metrics.replacements import find_replacements
from tests.support.networks import images, seeded

SIDE = 12


def pictures(count=2):
    return images(count)[..., :SIDE, :SIDE].contiguous()


def model():
    layers = [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(54, 4)]
    return seeded(lambda: nn.Sequential(*layers))


def one_by_one(image, order, removed, name):
    """The image C×H×W without the pixels ``order[removed]``, built pixel by pixel."""
    mask = np.zeros((SIDE, SIDE), bool)
    for pixel in order[removed]:
        mask[divmod(pixel, SIDE)] = True
    changed, replacement = image.clone(), metrics.REPLACEMENTS[name]
    if isinstance(replacement, metrics.Imputation):
        other = replacement.fill(image[None], torch.from_numpy(mask)[None, None])[0]
    else:
        other = replacement(image[None])[0]
    for row, column in zip(*mask.nonzero(), strict=True):
        changed[:, row, column] = other[:, row, column]
    return changed


@pytest.mark.parametrize("name", metrics.REPLACEMENTS)
def test_curves_replace_pixel_by_pixel(name):
    net, x, maps = model(), pictures(), torch.rand(2, 1, SIDE, SIDE)
    preset = metrics.Preset(4, torch.zeros_like, torch.zeros_like).with_replacement(metrics.REPLACEMENTS[name])
    deleted = metrics.deletion_curve(net, x, maps, [1, 2], preset=preset, perturbations_per_eval=3)
    inserted = metrics.insertion_curve(net, x, maps, [1, 2], preset=preset)
    for n, target in enumerate((1, 2)):
        order = np.argsort(-maps[n].flatten().numpy(), kind="stable")
        for step in range(5):
            done = step * SIDE * SIDE // 4
            for curve, removed in ((deleted, slice(None, done)), (inserted, slice(done, None))):
                with torch.no_grad():
                    score = net(one_by_one(x[n], order, removed, name)[None]).softmax(1)[0, target]
                torch.testing.assert_close(curve[n, step], score, rtol=1e-5, atol=1e-6)


def test_the_mean_and_the_noise_stay_in_the_values_of_each_channel():
    x = pictures()
    for n in range(2):
        for c in range(3):
            torch.testing.assert_close(metrics.mean_colour(x)[n, c], torch.full((SIDE, SIDE), float(x[n, c].mean())))
            noise = metrics.Noise()(x)[n, c]
            assert x[n, c].min() <= noise.min() < noise.max() <= x[n, c].max()
    assert torch.equal(metrics.Noise()(x)[1:], metrics.Noise()(x[1:]))
    assert not torch.equal(metrics.Noise()(x), metrics.Noise(1)(x))


def test_telea_is_opencvs_on_grey_levels():
    cv2 = pytest.importorskip("cv2")
    grey = torch.randint(0, 256, (2, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    grey[..., 0, 0], grey[..., 0, 1] = 0, 255  # the whole range, so that the levels are the values
    removed = torch.zeros(2, 1, SIDE, SIDE, dtype=torch.bool)
    removed[0, :, 3:7, 2:9], removed[1, :, 5:, 5:] = True, True
    found = metrics.telea_inpainting(grey / 255 * 5 - 2, removed)
    for n in range(2):
        picture, mask = grey[n].permute(1, 2, 0).to(torch.uint8).numpy(), removed[n, 0].to(torch.uint8).numpy()
        expected = cv2.inpaint(np.ascontiguousarray(picture), mask, 3, cv2.INPAINT_TELEA)
        torch.testing.assert_close((found[n] + 2) / 5 * 255, torch.from_numpy(expected).permute(2, 0, 1).float())


def test_telea_fills_an_image_of_which_nothing_is_left_with_its_mean():
    x = pictures()
    found = metrics.telea_inpainting(x, torch.ones(2, 1, SIDE, SIDE, dtype=torch.bool))
    torch.testing.assert_close(found, metrics.mean_colour(x).contiguous())


def test_what_does_not_fit_is_refused():
    removed = torch.ones(2, 1, SIDE, SIDE, dtype=torch.bool)
    with pytest.raises(CAMError, match='unknown replacement "blurr"; did you mean "blur"'):
        find_replacements(["blurr"])
    with pytest.raises(CAMError, match=r"signals and volumes use the replacement"):
        metrics.telea_inpainting(pictures()[:, :, None], removed)
    with pytest.raises(CAMError, match=r"radius must be a finite number above 0, got 0"):
        metrics.telea_inpainting(pictures(), removed, radius=0)
