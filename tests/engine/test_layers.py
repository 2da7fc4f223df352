"""The layer that is found, and the log line that names it."""

import logging

import pytest
import torch
import torchvision

import captum_cams as cc
from tests.support.networks import NETWORKS, images

FOUND = {
    "resnet18": "layer4.1",
    "vgg11": "features.20",
    "squeezenet1_0": "features.12",
    "densenet121": "features.norm5",
    "mobilenet_v2": "features.18",
    "mobilenet_v3_small": "features.12",
    "efficientnet_b0": "features.8",
    "convnext_tiny": "features.7.2",
    "regnet_y_400mf": "trunk_output.block4",
    "shufflenet_v2_x1_0": "conv5.2",
    "googlenet": "inception5b",
    "inception_v3": "Mixed_7c",
    "swin_t": "permute",
}


@pytest.mark.slow
@pytest.mark.parametrize("net", FOUND)
def test_torchvision_networks(net, caplog):
    options = {"init_weights": False} if net in ("googlenet", "inception_v3") else {}
    model = getattr(torchvision.models, net)(weights=None, **options).eval()
    cam = cc.GradCAM(model)
    with caplog.at_level(logging.INFO, logger="captum_cams"):
        cam.attribute(torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    assert cam.layer is model.get_submodule(FOUND[net])
    assert f"layer {FOUND[net]} (" in caplog.text


@pytest.mark.parametrize(
    ("net", "name"),
    [("plain", "features.10"), ("residual", "layer4.0"), ("dense", "norm"), ("functional ReLU", "conv2")],
)
def test_small_networks(net, name):
    model = NETWORKS[net]()
    cam = cc.GradCAM(model)
    cam.attribute(images(1))
    assert cam.layer is model.get_submodule(name)
