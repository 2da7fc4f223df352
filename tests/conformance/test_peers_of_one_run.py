"""The methods of one run that pytorch-grad-cam 1.5.7 has, too; each known difference has its own test."""

import numpy as np
import pytest
import torch

import captum_cams as cc
from captum_cams.images import upsample
from tests.support.networks import NETWORKS, images
from tests.support.peers import NETS, full_size, grad_cam, positive

pytest.importorskip("pytorch_grad_cam", reason="pip install '.[conformance]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # the peer's own


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("gradcamelementwise", "GradCAMElementWise"),
        ("segeigencam", "SegEigenCAM"),
        ("fem", "FEM"),
        ("shapleycam", "ShapleyCAM"),
    ],
)
def test_the_map_is_that_of_the_peer(net, name, theirs):
    model, x = NETWORKS[net](), images(3)
    target = positive(model, x)
    found = full_size(cc.create(name, model, NETS[net]).attribute(x, target))
    np.testing.assert_allclose(found, grad_cam(theirs, model, NETS[net], x, target), atol=1e-4)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(("name", "theirs"), [("eigengradcam", "EigenGradCAM"), ("kpcacam", "KPCA_CAM")])
def test_difference_components_have_no_sign_in_the_peer(net, name, theirs):
    """Reason: the sign of a singular vector is arbitrary there; one of the two signs gives the peer's map."""
    model, x = NETWORKS[net](), images(3)
    target = positive(model, x)
    expected = grad_cam(theirs, model, NETS[net], x, target)
    signed = cc.create(name, model, NETS[net]).attribute(x, target, relu_attributions=False)
    for n in range(3):
        both = [full_size((sign * signed[n : n + 1]).relu())[0] for sign in (1, -1)]
        assert min(np.abs(map_ - expected[n]).max() for map_ in both) < 1e-4


class Biases(torch.nn.Sequential):
    """Convolutions and BatchNorms in the order of their run; the peer knows no other biases."""

    def __init__(self):
        convolutions = torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.Conv2d(4, 6, 3, 2, 1)
        norms = torch.nn.BatchNorm2d(4), torch.nn.BatchNorm2d(6)
        layers = [layer for pair in zip(convolutions, norms, strict=True) for layer in (*pair, torch.nn.ReLU())]
        super().__init__(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(6, 5, bias=False))
        for norm in norms:
            torch.nn.init.normal_(norm.weight), torch.nn.init.normal_(norm.bias)
            norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2)


def test_difference_fullgrad_of_the_peer_scales_each_channel():
    """Reason: ψ scales the channels of a layer together in the authors' code; the peer scales each by itself."""
    torch.manual_seed(0)
    model, x = Biases().eval(), images(3)
    target = positive(model, x)
    expected = grad_cam("FullGrad", model, "4", x, target)
    kept = []
    with pytest.MonkeyPatch.context() as patch:
        original = cc.FullGrad.products
        patch.setattr(cc.FullGrad, "products", lambda self, call: kept.extend(original(self, call)) or kept)
        ours = full_size(cc.FullGrad(model).attribute(x, target))
    assert len(kept) == 5

    def scaled(values):
        values = values - values.amin((2, 3), keepdim=True)
        return values / (1e-7 + values.amax((2, 3), keepdim=True))

    each = [upsample(scaled(one.abs()), x.shape[2:]).sum(1, keepdim=True) for one in kept]
    found = scaled(torch.stack(each).sum(0))[:, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(ours - expected).max() > 1e-2


def test_the_activations_are_centred_before_the_kernel_as_in_the_peer():
    """A kernel of inner products is another one for rows that are not centred, except for the linear kernel."""
    from sklearn.decomposition import KernelPCA

    model, x = NETWORKS["residual"](), images(1)
    kept = []
    handle = model.layer4.register_forward_hook(lambda module, args, output: kept.append(output.detach()))
    model(x)
    handle.remove()
    rows = kept[0][0].flatten(1).T.double().numpy()
    found = cc.KPCACAM(model, "layer4").attribute(x, relu_attributions=False).flatten().numpy()

    def component(values):
        return KernelPCA(1, kernel="sigmoid").fit_transform(values)[:, 0]

    def apart(expected):
        return min(np.abs(found - sign * expected).max() for sign in (1, -1)) / np.abs(expected).max()

    assert apart(component(rows - rows.mean(0))) < 1e-5
    assert apart(component(rows)) > 1e-2
    assert torch.equal(cc.KPCACAM(model, "layer4").attribute(x, 1), cc.KPCACAM(model, "layer4").attribute(x, 2))
