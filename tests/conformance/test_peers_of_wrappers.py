"""Finer-CAM and Refine-CAM of pytorch-grad-cam 1.5.7 and TorchCAM 0.5.0; each difference has its own test."""

import contextlib
import io

import numpy as np
import pytest
import torch

import captum_cams as cc
from captum_cams.images import minmax, upsample
from tests.support.networks import NETWORKS, SIDE, images

pgc = pytest.importorskip("pytorch_grad_cam", reason="pip install '.[conformance]'")
torchcam = pytest.importorskip("torchcam.methods", reason="pip install '.[conformance]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # the peers' own
NETS = {"plain": "features.10", "batch norm": "features.14", "residual": "layer4"}
CLOSE = {"rtol": 0, "atol": 1e-4}


def grad_cam(name, model, layers, base, x, *args, **options) -> np.ndarray:
    """What pytorch-grad-cam returns: at the image's size, in [0, 1]."""
    with contextlib.redirect_stderr(io.StringIO()):
        cam = getattr(pgc, name)(model, [model.get_submodule(layer) for layer in layers], base_method=base)
        return cam(x, *args, **options)


def full_size(maps: torch.Tensor) -> np.ndarray:
    return minmax(upsample(minmax(maps), (SIDE, SIDE)))[:, 0].numpy()


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(("base", "theirs"), [("gradcam", "GradCAM"), ("layercam", "LayerCAM")])
@pytest.mark.parametrize("references", [3, [7, 1]])
def test_finercam_of_torchcam(net, base, theirs, references):
    """Score y_c − 0.6·mean_d y_d."""
    model, x = NETWORKS[net](), images(3)
    target, given = [0, 4, 9], None if references == 3 else references
    with torchcam.FinerCAM(model, NETS[net], base_method=getattr(torchcam, theirs)) as cam:
        expected = cam(target, model(x), comparison_idx=given)[0]
    found = cc.FinerCAM(model, NETS[net], base=base, references=references).attribute(x, target)
    torch.testing.assert_close(minmax(found)[:, 0], expected, **CLOSE)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("base", ["GradCAM", "LayerCAM", "HiResCAM"])
def test_finercam_of_pytorch_grad_cam(net, base):
    """Score Σ_d p_d (y_c − y_d) / Σ_d p_d, whose gradient passes the probabilities as well."""
    model, x = NETWORKS[net](), images(3)
    expected = grad_cam("FinerCAM", model, [NETS[net]], getattr(pgc, base), x)
    found = cc.FinerCAM(model, NETS[net], base=base.lower(), weighting="probability").attribute(x)
    np.testing.assert_allclose(full_size(found), expected, **CLOSE)


def test_finercam_of_pytorch_grad_cam_with_another_strength_and_class():
    model, x = NETWORKS["residual"](), images(2)
    expected = grad_cam("FinerCAM", model, ["layer4"], pgc.GradCAM, x, alpha=0.5, target_idx=4)
    cam = cc.FinerCAM(model, "layer4", weighting="probability", strength=0.5)
    np.testing.assert_allclose(full_size(cam.attribute(x, 4)), expected, **CLOSE)


def test_difference_tiny_probabilities_vanish_in_the_peer():
    """Reason: it divides by Σp + 1e-9. Its score is ours times s = Σp / (Σp + 1e-9), and where Σp is tiny, the gradient
    of s outweighs that of the score; where Σp underflows, its map is zero."""
    model, x = NETWORKS["residual"](), images(1)
    scores = model(x)[0]
    label = int(scores.argmax())
    others = [c for c in (scores - scores[label]).abs().argsort().tolist() if c != label][:3]
    model.fc.weight.data *= 1e3
    model.fc.bias.data *= 1e3
    found = cc.FinerCAM(model, "layer4", references=others, weighting="probability")
    peer = pgc.utils.model_targets.FinerWeightedTarget(label, others, 1)

    def shrunk(out):
        p = out.softmax(1)[:, others]
        q = out[:, others].softmax(1)
        return (q * (out[:, [label]] - out[:, others])).sum(1) * p.sum(1) / (p.sum(1) + 1e-9)

    expected = torch.stack([torch.as_tensor(peer(row)) for row in model(x).detach()])
    torch.testing.assert_close(shrunk(model(x).detach()), expected)
    theirs = grad_cam("FinerCAM", model, ["layer4"], pgc.GradCAM, x, [peer])
    np.testing.assert_allclose(full_size(cc.GradCAM(model, "layer4").attribute(x, shrunk)), theirs, **CLOSE)
    assert np.abs(full_size(found.attribute(x, label)) - theirs).max() > 0.1


def test_difference_the_published_weightings_disagree():
    """Reason: one averages the references evenly with γ = 0.6, the other by probability with γ = 1."""
    model, x = NETWORKS["residual"](), images(1)
    label = model(x).argmax(1).tolist()
    with torchcam.FinerCAM(model, "layer4") as cam:
        one = upsample(cam(label, model(x))[0][:, None], (SIDE, SIDE))[:, 0].numpy()
    assert np.abs(one - grad_cam("FinerCAM", model, ["layer4"], pgc.GradCAM, x)).max() > 0.01


LAYERS = ["layer2", "layer3", "layer4"]


@pytest.mark.parametrize("base", ["layercam", "gradcam"])
def test_refinecam_of_torchcam(base):
    """At the size of the largest map, scaled to [0, 1] once more."""
    model, x, target = NETWORKS["residual"](), images(3), [0, 4, 9]
    theirs = {"layercam": torchcam.LayerCAM, "gradcam": torchcam.GradCAM}[base]
    with torchcam.RefineCAM(model, LAYERS, base_method=theirs) as cam:
        expected = cam(target, model(x))[0]
    found = cc.MultiLayerCAM(model, base=base, layers=LAYERS, fusion="product").attribute(x, target)
    torch.testing.assert_close(minmax(found)[:, 0], expected, **CLOSE)


@pytest.mark.parametrize(("base", "theirs"), [("layercam", "LayerCAM"), ("gradcam", "GradCAM")])
def test_refinecam_of_pytorch_grad_cam_multiplies_maps_at_the_size_of_the_image(base, theirs):
    """Reason: there each map is scaled, enlarged and scaled again before the product; here the product has the size of
    the largest map. Written out at the size of the image, ours is the peer's."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model, x, target = NETWORKS["residual"](), images(2), [0, 4]
    targets = [ClassifierOutputTarget(c) for c in target]
    expected = grad_cam("RefineCAM", model, LAYERS, getattr(pgc, theirs), x, targets)
    maps = [full_size(cc.create(base, model, layer).attribute(x, target)) for layer in LAYERS]
    product = torch.from_numpy(maps[0] * maps[1] * maps[2])[:, None]
    np.testing.assert_allclose(minmax(product)[:, 0].numpy(), expected, **CLOSE)


def test_the_clamp_of_pytorch_grad_cams_refinecam_has_no_effect():
    """Reason: np.maximum makes a new array under the name of the loop, and what is multiplied stays as it was."""

    class Signed:
        """A base whose maps are negative in places and larger than 1."""

        def __init__(self, model, layers, reshape, **options):
            self.map = torch.randn(2, SIDE, SIDE, generator=torch.Generator().manual_seed(len(layers))).numpy() * 3

        def __call__(self, x, targets, eigen_smooth):
            return self.map

    model, x = NETWORKS["residual"](), images(2)
    found = grad_cam("RefineCAM", model, LAYERS, Signed, x)
    plain = Signed(model, LAYERS[:1], None).map ** 3
    clamped = np.maximum(plain, 0)

    def scaled(maps):
        return minmax(torch.from_numpy(maps)[:, None])[:, 0].numpy()

    np.testing.assert_allclose(found, scaled(plain), atol=1e-5)
    assert np.abs(found - scaled(clamped)).max() > 0.1
