"""ONNX Runtime gives the map of the method for well-known networks."""

import warnings

import pytest
import torch
from torchvision import models

import captum_cams as cc
from tests.support.networks import seeded

onnxruntime = pytest.importorskip("onnxruntime")


CASES = [
    (models.resnet18, 96, "gradcam", "layer4"),
    (models.resnet18, 96, "reciprocam", "layer4"),
    (models.mobilenet_v2, 96, "reciprocam", "features"),
    (models.efficientnet_b0, 96, "gradcam", "features"),
    # Not ViT-Recipro-CAM: with random weights its windows hardly differ, and rounding moves the scaled map by 1e-3.
    (models.vit_b_16, 224, "eigencam", "encoder.layers.encoder_layer_11.ln_1"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("build", "side", "method", "layer"), CASES)
def test_onnx_runtime_gives_the_map_of_the_method(build, side, method, layer, tmp_path):
    net = seeded(build)
    image, other = torch.randn(2, 1, 3, side, side, generator=torch.Generator().manual_seed(0))
    module = cc.with_map(net, method, layer, inputs=image)
    with warnings.catch_warnings():
        # The exporter uses what its own libraries have deprecated.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(onnx|torch\.onnx)")
        program = torch.onnx.export(module, (image,), dynamo=True, verbose=False)
    program.save(str(tmp_path / "net.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: other.numpy()})
    with torch.no_grad():
        expected = (net(other), cc.create(method, net, layer).attribute(other))
    for what, value in zip(map(torch.from_numpy, found), expected, strict=True):
        assert what.shape == value.shape
        largest = float(value.abs().max())
        assert largest > 0
        assert float((what - value).abs().max()) <= 1e-4 * largest
