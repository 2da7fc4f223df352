"""Objects of pytorch-grad-cam and TorchCAM as explainers: their own maps, an untouched model, nothing collected."""

import copy

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

import captum_cams as cc
from lightning_callbacks import evaluate
from tests.support.evaluation_run import quiet
from tests.support.networks import NETWORKS, images
from tests.support.peers import grad_cam, torch_cam
from tests.support.refusals import said
from tests.support.untouched import same, state

pgc = pytest.importorskip("pytorch_grad_cam", reason="pip install '.[conformance]'")
torchcam = pytest.importorskip("torchcam.methods", reason="pip install '.[conformance]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # the peers' own
X, CLASSES, LAYER = images(2), [1, 2], "layer4"


@pytest.fixture
def model():
    return NETWORKS["residual"]()


@pytest.mark.parametrize("name", ["GradCAM", "HiResCAM", "EigenCAM"])
def test_pytorch_grad_cams_maps(model, name):
    theirs = grad_cam(name, NETWORKS["residual"](), LAYER, X, CLASSES)
    cam = getattr(pgc, name)(model=model, target_layers=[model.layer4])
    before = state(model)
    explainer = cc.PeerMaps(cam)
    maps = explainer.attribute(X, CLASSES)
    assert same(before, state(model))
    np.testing.assert_allclose(maps[:, 0].numpy(), theirs, atol=1e-6)
    assert not cam.activations_and_grads.activations
    assert not hasattr(cam, "outputs")
    assert explainer.hyperparameters["cam"]["layers"] == [LAYER]


@pytest.mark.parametrize("name", ["GradCAM", "LayerCAM"])
def test_torchcams_maps(model, name):
    theirs = torch_cam(name, NETWORKS["residual"](), LAYER, X, CLASSES)
    cam = getattr(torchcam, name)(model, LAYER)
    before = state(model)
    maps = cc.PeerMaps(cam).attribute(X, CLASSES)
    assert same(before, state(model))
    scaled = (maps - maps.amin((2, 3), keepdim=True)) / (maps - maps.amin((2, 3), keepdim=True)).amax(
        (2, 3), keepdim=True
    )
    torch.testing.assert_close(scaled[:, 0], theirs, atol=1e-5, rtol=0)
    assert cam.hook_a == [None]


def test_random_numbers_are_the_same_for_each_image(model):
    for cam in (
        pgc.RandomCAM(model=model, target_layers=[model.layer4]),
        torchcam.SmoothGradCAMpp(model, LAYER, num_samples=2),
    ):
        explainer = cc.PeerMaps(cam)
        maps = explainer.attribute(X, CLASSES)
        assert torch.equal(maps, explainer.attribute(X, CLASSES))
        for n, index in enumerate(CLASSES):
            assert torch.equal(maps[n : n + 1], explainer.attribute(X[n : n + 1], index))


def test_a_copy_explains_the_copied_model(model):
    explainer = cc.PeerMaps(pgc.GradCAM(model=model, target_layers=[model.layer4]))
    explain, network = copy.deepcopy((explainer.attribute, model))
    maps = explainer.attribute(X, CLASSES)
    assert torch.equal(explain(X, CLASSES), maps)
    with torch.no_grad():
        network.fc.weight.normal_()
    assert not torch.equal(explain(X, CLASSES), maps)
    assert torch.equal(explainer.attribute(X, CLASSES), maps)


def test_they_are_evaluated_like_methods(model):
    methods = {
        "theirs": pgc.GradCAM(model=model, target_layers=[model.layer4]),
        "of torchcam": torchcam.GradCAM(model, LAYER),
        "ours": cc.GradCAM(model, LAYER),
    }
    table = evaluate(model, TensorDataset(X, torch.tensor(CLASSES)), methods, metrics="average_drop", trainer=quiet())
    means = [table[name, "average_drop"].mean for name in methods]
    assert means[1] == pytest.approx(means[2], abs=1e-3)


def test_several_layers_and_other_objects_are_refused(model):
    several = torchcam.GradCAM(model, ["layer3", "layer4"])
    assert "one layer" in said(cc.PeerMaps(several).attribute, X, CLASSES)
    assert "pytorch-grad-cam or TorchCAM" in said(cc.PeerMaps, model)


def test_pytorch_grad_cam_refuses_images_with_channels_last(model):
    class Last(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = model

        def forward(self, x):
            return self.network(x.movedim(-1, 1))

    cam = pgc.GradCAM(model=Last(), target_layers=[model.layer4])
    last = X.movedim(1, -1).contiguous()
    assert "needs images N×C×H×W" in said(lambda: cc.PeerMaps(cam).attribute(last, CLASSES))
