"""The exported module gives the map of the method itself, and leaves the model as it was."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

import captum_cams as cc
from captum_cams.export.build import FORMS
from tests.support.networks import NETWORKS, images, seeded
from tests.support.vit import LAYER, small_vit

ANY = ["cam", "eigencam", "fem", "reciprocam"]
AFFINE = ["gradcam", "layercam", "hirescam", "ablationcam"]


class TinyViT(timm.models.VisionTransformer):
    """A transformer of timm, which takes any number of images, on a grid of 3×3 patches."""

    def __init__(self):
        super().__init__(img_size=24, patch_size=8, embed_dim=12, depth=1, num_heads=2, num_classes=5)


def tiny() -> nn.Module:
    def build():
        layers = [nn.Conv2d(3, 6, 4, 4), nn.ReLU(), nn.Conv2d(6, 6, 3, 1, 1), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))

    return seeded(build)


def noise(count: int, seed: int = 0):
    return torch.randn(count, 3, 24, 24, generator=torch.Generator().manual_seed(seed))


def close(found, expected):
    assert found.shape == expected.shape
    assert float(expected.abs().max()) > 0
    assert float((found - expected).abs().max()) <= 1e-5 * max(1.0, float(expected.abs().max()))


def expected(method, net, layer, x, target=None, **options):
    return cc.create(method, net, layer, **options).attribute(x, target)


def exported(module, x):
    return torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)).module()


@pytest.mark.parametrize("method", [*ANY, *AFFINE])
def test_a_convolutional_network_in_any_batch(method):
    net, other = tiny(), noise(3, seed=5)
    program = exported(cc.with_map(net, method, "3", inputs=noise(2)), noise(2))
    scores, maps = program(other)
    torch.testing.assert_close(scores, net(other).detach(), rtol=1e-5, atol=1e-5)
    close(maps, expected(method, net, "3", other))
    close(torch.cat([program(one[None])[1] for one in other]), maps)


@pytest.mark.parametrize("method", ["vitreciprocam", "eigencam", pytest.param("reciprocam", marks=pytest.mark.slow)])
def test_a_transformer_in_any_batch(method):
    net, other = seeded(TinyViT), noise(3, seed=5)
    program = exported(cc.with_map(net, method, "blocks.0.norm1", inputs=noise(1)), noise(2))
    maps = program(other)[1]
    close(maps, expected(method, net, "blocks.0.norm1", other))
    close(torch.cat([program(one[None])[1] for one in other]), maps)


@pytest.mark.parametrize("method", AFFINE)
def test_an_affine_tail_whose_gradient_differs_between_positions(method):
    def build():
        return nn.Sequential(nn.Conv2d(3, 6, 8, 8), nn.ReLU(), nn.AvgPool2d(2, 1), nn.Flatten(), nn.Linear(24, 10))

    net, other = seeded(build), noise(2, seed=5)
    # A class whose logit is above 0 for an image: otherwise the map of Ablation-CAM may be 0 after ReLU.
    target = int(net(other)[0].argmax())
    module = cc.with_map(net, method, "1", inputs=noise(2), target=target)
    assert {*module.form.buffers()}.pop().shape[2:] == ((1, 1) if method == "gradcam" else (3, 3))
    close(module(other)[1], expected(method, net, "1", other, target))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dense", "in-place ReLU", "functional ReLU", "batch norm"])
def test_activations_changed_in_place_and_skip_connections(name):
    net = NETWORKS[name]()
    layer = {"dense": "norm", "in-place ReLU": "bn", "functional ReLU": "conv2", "batch norm": "features.8"}[name]
    for method in ("reciprocam", "eigencam"):
        close(
            cc.with_map(net, method, layer, inputs=images(2))(images(3, 5))[1],
            expected(method, net, layer, images(3, 5)),
        )


OPTIONS = [("reciprocam", {"gaussian": True}), ("reciprocam", {"score": "probability"}), ("fem", {"deviations": 0.5})]


@pytest.mark.parametrize(("method", "options"), OPTIONS)
def test_hyperparameters_and_the_class(method, options):
    net, other = tiny(), noise(3, seed=5)
    module = cc.with_map(net, method, "1", inputs=noise(2), target=4, **options)
    close(module(other)[1], expected(method, net, "1", other, 4, **options))


def test_a_size_is_the_interpolated_map():
    module = cc.with_map(tiny(), "hirescam", "3", inputs=noise(1), size=(24, 24))
    close(module(noise(1))[1], F.interpolate(expected("hirescam", tiny(), "3", noise(1)), (24, 24), mode="bilinear"))


def test_the_layer_is_found():
    close(cc.with_map(tiny(), "hirescam", inputs=noise(1))(noise(2))[1], expected("hirescam", tiny(), "3", noise(2)))


@pytest.mark.parametrize("count", [3, 30])
def test_eigen_cam_is_as_accurate_as_said(count):
    """The second component keeps (σ₂/σ₁)^8192 of its share."""
    from captum_cams.export.forms import Principal

    generator = torch.Generator().manual_seed(0)
    u = torch.linalg.qr(torch.randn(50, 49, generator=generator, dtype=torch.float64)).Q
    u = torch.linalg.qr(u - u.mean(0)).Q[:, :count]
    v = torch.linalg.qr(torch.randn(64, 64, generator=generator, dtype=torch.float64)).Q[:, :count]
    sizes = torch.linspace(1, 0.1, count, dtype=torch.float64)
    sizes[1] = 0.998
    maps = (u * sizes @ v.T).T.reshape(1, 64, 5, 10)
    found = Principal()(maps, maps, maps, maps).flatten()
    assert min(float((found - u[:, 0]).norm()), float((found + u[:, 0]).norm())) < 0.998**8192 * 100


def test_what_has_no_exported_form_is_refused():
    net, x = tiny(), noise(1)
    with pytest.raises(cc.CAMError, match='unknown exported method "scorecam"'):
        cc.with_map(net, "scorecam", "3", inputs=x)
    with pytest.raises(cc.CAMError, match=r"affine.* got relu"):
        cc.with_map(net, "gradcam", "1", inputs=x)
    with pytest.raises(cc.CAMError, match="target must be in 0…4"):
        cc.with_map(net, "fem", "3", inputs=x, target=5)
    with pytest.raises(cc.CAMError, match="fixes the number of samples"):
        cc.with_map(small_vit(), "vitreciprocam", LAYER, inputs=images(1))
    with pytest.raises(cc.CAMError, match="images N×C×H×W"):
        cc.with_map(net, "gradcam", "3", inputs=x[0])
    with pytest.raises(cc.CAMError, match="CAM needs a head"):
        cc.with_map(net, "cam", "1", inputs=x)


def test_a_fixed_number_of_samples():
    net, x = small_vit(), images(3)
    module = cc.with_map(net, "eigencam", LAYER, inputs=x)
    assert not module.free_batch
    close(module(images(3, 5))[1], expected("eigencam", net, LAYER, images(3, 5)))


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 8, 8), nn.Linear(4, 10)

    def forward(self, x):
        x = self.conv(x)
        return self.fc(x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3)))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Linear(3, 10)

    def forward(self, x):
        return self.fc(self.relu(self.conv(self.relu(self.conv(x)))).mean((2, 3)))


def test_networks_that_cannot_leave():
    with pytest.raises(cc.CAMError, match=r"one that torch\.export takes"):
        cc.with_map(seeded(Branches), "eigencam", "conv", inputs=noise(1))
    with pytest.raises(cc.CAMError, match="calls twice"):
        cc.with_map(seeded(Twice), "eigencam", "relu", inputs=noise(1))


def test_the_model_and_the_module_share_nothing():
    net = seeded(lambda: tiny().insert(1, nn.BatchNorm2d(6))).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    flags = torch.backends.mha.get_fastpath_enabled()
    module = cc.with_map(net, "reciprocam", "4", inputs=noise(1))
    maps = module(noise(1))[1]
    assert net.training
    assert torch.backends.mha.get_fastpath_enabled() == flags
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert torch.equal(module(noise(1))[1], maps)


def test_every_form_is_tested():
    assert {*FORMS} == {*ANY, *AFFINE, "vitreciprocam"}
