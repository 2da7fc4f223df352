"""Captum's own tools take the classes as they are."""

import matplotlib as mpl
import numpy as np
import pytest
import torch
from captum.attr import LayerAttribution, LayerGradCam, NoiseTunnel
from captum.attr import visualization as viz
from captum.metrics import infidelity, sensitivity_max

import captum_cams as cc
from tests.support.explainers import ANY_LAYER, explainer
from tests.support.networks import NETWORKS, SIDE, images

mpl.use("Agg")
SUITED = [name for name in ANY_LAYER if name != "cam"]  # the network's head is not linear


@pytest.fixture
def model():
    return NETWORKS["batch norm"]()


def test_gradcam_is_captums_layergradcam(model):
    x = images(3)
    ours = cc.GradCAM(model, model.features[-1])
    captum = LayerGradCam(model, model.features[-1])
    assert issubclass(cc.GradCAM, LayerAttribution)
    for relu in (True, False):
        expected = captum.attribute(x, [1, 2, 3], relu_attributions=relu)
        torch.testing.assert_close(ours.attribute(x, [1, 2, 3], relu_attributions=relu), expected.detach())


@pytest.mark.parametrize("name", SUITED)
def test_noise_tunnel(model, name):
    torch.manual_seed(0)
    tunnel = NoiseTunnel(explainer(name, model))
    smooth = tunnel.attribute(images(2), nt_samples=4, nt_samples_batch_size=2, stdevs=0.1, target=3)
    plain = explainer(name, model).attribute(images(2), 3)
    assert smooth.shape == plain.shape
    assert torch.isfinite(smooth).all()
    if name not in ("centre", "constant"):
        assert not torch.equal(smooth, plain)


@pytest.mark.parametrize("name", SUITED)
def test_infidelity(model, name):
    x = images(2)
    attributions = explainer(name, model).heatmap(x, 3)[:, None].expand_as(x)

    def perturb(inputs):
        noise = 0.1 * torch.randn(inputs.shape, generator=torch.Generator().manual_seed(0))
        return noise, inputs - noise

    score = infidelity(model, perturb, x, attributions, target=3, n_perturb_samples=3)
    assert score.shape == (2,)
    assert torch.isfinite(score).all()


@pytest.mark.parametrize("name", SUITED)
def test_sensitivity_max(model, name):
    cam = explainer(name, model)
    score = sensitivity_max(cam.attribute, images(1), target=3, n_perturb_samples=2)
    assert score.shape == (1,)
    assert torch.isfinite(score).all()

    def as_tuple(inputs, **options):  # for several images Captum 0.9 wants a tuple, of its own LayerGradCam too
        return (cam.attribute(inputs, **options),)

    score = sensitivity_max(as_tuple, images(2), target=3, n_perturb_samples=2)
    assert score.shape == (2,)
    assert torch.isfinite(score).all()


def test_sensitivity_max_refuses_captums_own_layergradcam_on_a_batch(model):
    captum = LayerGradCam(model, model.features[-1])
    with pytest.raises(RuntimeError, match="size of tensor"):
        sensitivity_max(captum.attribute, images(2), target=3, n_perturb_samples=2)


def test_interpolate_and_visualize(model):
    x = images(1)
    maps = cc.FDCAM(model).attribute(x, 3)
    large = LayerAttribution.interpolate(maps, (SIDE, SIDE), interpolate_mode="bilinear")
    assert large.shape == (1, 1, SIDE, SIDE)
    picture = np.transpose(large[0].numpy(), (1, 2, 0))
    original = np.transpose(x[0].sigmoid().numpy(), (1, 2, 0))
    figure, _ = viz.visualize_image_attr(picture, original, method="blended_heat_map", use_pyplot=False)
    assert figure.axes
