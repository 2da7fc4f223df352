"""pytorch-grad-cam 1.5.7 and TorchCAM 0.5.0 from PyPI on fresh networks; each known difference has its own test."""

import numpy as np
import pytest
import torch
from torch import nn

import captum_cams as cc
from captum_cams.images import minmax, upsample
from tests.support.networks import NETWORKS, SIDE, images, seeded
from tests.support.peers import NETS, full_size, grad_cam, positive, torch_cam

pgc = pytest.importorskip("pytorch_grad_cam", reason="pip install '.[conformance]'")
torchcam = pytest.importorskip("torchcam.methods", reason="pip install '.[conformance]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # the peers' own


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(
    ("name", "theirs", "options"),
    [
        ("gradcam", "GradCAM", {}),
        ("xgradcam", "XGradCAM", {}),
        ("layercam", "LayerCAM", {}),
        ("hirescam", "HiResCAM", {}),
        ("ablationcam", "AblationCAM", {}),
        ("scorecam", "ScoreCAM", {"align_corners": True}),
    ],
)
def test_pytorch_grad_cam(net, name, theirs, options):
    model, x = NETWORKS[net](), images(3)
    target = positive(model, x)
    found = full_size(cc.create(name, model, NETS[net], **options).attribute(x, target))
    np.testing.assert_allclose(found, grad_cam(theirs, model, NETS[net], x, target), atol=1e-4)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(
    ("name", "theirs", "options"),
    [
        ("gradcam", "GradCAM", {}),
        ("xgradcam", "XGradCAM", {}),
        ("layercam", "LayerCAM", {}),
        ("scorecam", "ScoreCAM", {"mask_order": "normalise_first"}),
    ],
)
def test_torchcam(net, name, theirs, options):
    model, x = NETWORKS[net](), images(3)
    target = positive(model, x)
    found = minmax(cc.create(name, model, NETS[net], **options).attribute(x, target))[:, 0]
    torch.testing.assert_close(found, torch_cam(theirs, model, NETS[net], x, target), rtol=0, atol=1e-4)


def test_torchcams_cam():
    model, x = NETWORKS["residual"](), images(3)
    target = positive(model, x)
    with torchcam.CAM(model, model.layer4, fc_layer=model.fc) as cam:
        expected = cam(target, model(x), normalized=False)[0]
    torch.testing.assert_close(cc.CAM(model, "layer4").attribute(x, target)[:, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("net", NETS)
def test_difference_eigencam_has_no_sign_in_the_peer(net):
    """Reason: the singular vector's sign is arbitrary there; one of the two signs gives the peer's map."""
    model, x = NETWORKS[net](), images(3)
    expected = grad_cam("EigenCAM", model, NETS[net], x, [0, 0, 0])
    signed = cc.EigenCAM(model, NETS[net]).attribute(x, 0, relu_attributions=False)
    for n in range(3):
        both = [
            full_size(sign * signed[n : n + 1].clone().relu() if sign > 0 else (-signed[n : n + 1]).relu())[0]
            for sign in (1, -1)
        ]
        assert min(np.abs(map_ - expected[n]).max() for map_ in both) < 1e-4


@pytest.mark.parametrize("net", NETS)
def test_difference_gradcamplusplus_of_torchcam_has_no_denominator(net):
    """Reason: its division goes into a copy; the weights are Σ G² ReLU(G)."""
    model, x = NETWORKS[net](), images(2)
    target = positive(model, x)
    seen = []
    cam = cc.GradCAMPlusPlus(model, NETS[net])
    cam.weights = lambda s: seen.append(s) or (s.gradient**2 * s.gradient.relu()).sum((2, 3))
    found = minmax(cam.attribute(x, target))[:, 0]
    expected = torch_cam("GradCAMpp", model, NETS[net], x, target)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_difference_ablationcam_of_the_peer_turns_over_with_a_negative_logit():
    """Reason: it divides the drop by the logit, not by its size."""
    model, x = NETWORKS["residual"](), images(1)
    scores = model(x)[0]
    target = [int(scores.argmin())]
    assert scores[target[0]] < 0
    signed = cc.AblationCAM(model, "layer4").attribute(x, target, relu_attributions=False)
    np.testing.assert_allclose(
        full_size((-signed).relu()), grad_cam("AblationCAM", model, "layer4", x, target), atol=1e-4
    )


def test_difference_ablationcam_of_the_peer_does_not_switch_off_where_activations_are_negative():
    """Reason: there it sets channels to the smallest activation minus 1e7 instead of zero."""
    layers = (nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    model, x = seeded(lambda: nn.Sequential(*layers)), images(1)
    target = positive(model, x)
    ours = full_size(cc.AblationCAM(model, "0").attribute(x, target))
    assert np.abs(ours - grad_cam("AblationCAM", model, "0", x, target)).max() > 0.05


def test_difference_the_peers_scorecams_disagree():
    """Reason: one upsamples with aligned corners and then normalises, the other the other way round."""
    model, x = NETWORKS["plain"](), images(1)
    target = positive(model, x)
    one = torch.from_numpy(grad_cam("ScoreCAM", model, NETS["plain"], x, target))
    other = minmax(upsample(torch_cam("ScoreCAM", model, NETS["plain"], x, target)[:, None], (SIDE, SIDE)))[:, 0]
    assert float((one - other).abs().max()) > 1e-3
