"""The structural similarity of maps beside scikit-image's."""

import pytest
import torch

import captum_cams as cc
from captum_cams import metrics
from captum_cams.metrics.functional.similarity import similarity_of_maps
from tests.support.networks import NETWORKS, images

structural_similarity = pytest.importorskip(
    "skimage.metrics", reason="pip install '.[conformance]'"
).structural_similarity


def scaled(one):
    return ((one - one.min()) / (one.max() - one.min())).double().numpy()


@pytest.mark.parametrize(
    ("shape", "window"),
    [((7, 7), 7), ((9, 12), 7), ((40, 24), 7), ((5, 9), 5), ((6, 6), 5), ((3, 4), 3), ((30,), 7), ((7, 8, 9), 7)],
)
def test_ssim_is_that_of_scikit_image(shape, window):
    generator = torch.Generator().manual_seed(len(shape))
    maps = torch.randn(4, 1, *shape, generator=generator)
    others = 3 * maps.roll(1, 0) + torch.randn(4, 1, *shape, generator=generator)
    others[3] = -maps[3]
    expected = [
        structural_similarity(scaled(one), scaled(other), data_range=1, win_size=window)
        for one, other in zip(maps[:, 0], others[:, 0], strict=True)
    ]
    found = similarity_of_maps(maps, others, "ssim")
    torch.testing.assert_close(found, torch.tensor(expected).float(), rtol=0, atol=1e-6)
    assert float(found.std()) > 0.05


def test_randomisation_compares_with_it():
    model, x = NETWORKS["plain"](), images(2)
    cam = cc.HiResCAM(model, "features.0")
    maps = cam.attribute(x, [1, 3])
    assert min(maps.shape[2:]) >= 7
    given = {"explain": cam.attribute, "similarity": "ssim"}
    _, found = metrics.randomisation_curve(model, x, maps, [1, 3], **given)
    torch.testing.assert_close(metrics.randomisation(model, x, maps, [1, 3], **given), found[:, [0, 1, 3, 6]].mean(1))
    logit = metrics.random_logit(model, x, maps, 1, explain=lambda given, _: maps.flip(2), similarity="ssim")
    for one, value in zip(maps[:, 0], logit.tolist(), strict=True):
        theirs = structural_similarity(scaled(one), scaled(one.flip(0)), data_range=1)
        assert value == pytest.approx(theirs, abs=1e-6)
