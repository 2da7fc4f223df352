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
TOKENS = "blocks.2.norm1"


def transformer() -> nn.Module:
    return seeded(lambda: timm.create_model("vit_tiny_patch16_224", img_size=64, depth=3, num_classes=10))


def pictures(count: int, seed: int):
    return F.interpolate(images(count, seed), (64, 64), mode="bilinear")


def fem(activation):
    """FEM as a plain loop over samples, channels and positions."""
    maps = torch.zeros(len(activation), 1, *activation.shape[2:])
    for n, channels in enumerate(activation):
        for channel in channels:
            mean = channel.mean()
            spread = ((channel - mean) ** 2).mean().sqrt()
            strong = sum(float(value > mean + 2 * spread) for value in channel.flatten())
            maps[n, 0] += strong / channel.numel() * channel
    return maps.relu()


def close(found, expected):
    assert found.shape == expected.shape
    assert float(expected.abs().max()) > 0
    assert float((found - expected).abs().max()) <= 1e-5 * max(1.0, float(expected.abs().max()))


def expected(method, net, layer, x, target=None, **options):
    if method in cc.names():
        return cc.create(method, net, layer, **options).attribute(x, target)
    activations = []
    with net.get_submodule(layer).register_forward_hook(lambda *given: activations.append(given[2])):
        net(x)
    return fem(activations[0].detach())


def exported(module, x):
    return torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)).module()


@pytest.mark.parametrize("method", [*ANY, *AFFINE])
def test_a_convolutional_network_in_any_batch(method):
    net, other = NETWORKS["residual"](), images(3, seed=5)
    program = exported(cc.with_map(net, method, "layer4", inputs=images(2)), images(2))
    scores, maps = program(other)
    torch.testing.assert_close(scores, net(other).detach(), rtol=1e-5, atol=1e-5)
    close(maps, expected(method, net, "layer4", other))
    close(torch.cat([program(one[None])[1] for one in other]), maps)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["vitreciprocam", "reciprocam", "eigencam"])
def test_a_transformer_in_any_batch(method):
    net, other = transformer(), pictures(3, seed=5)
    program = exported(cc.with_map(net, method, TOKENS, inputs=pictures(1, seed=1)), pictures(2, seed=1))
    maps = program(other)[1]
    close(maps, expected(method, net, TOKENS, other))
    close(torch.cat([program(one[None])[1] for one in other]), maps)


@pytest.mark.slow
@pytest.mark.parametrize("method", AFFINE)
def test_an_affine_tail_whose_gradient_differs_between_positions(method):
    def build():
        return nn.Sequential(nn.Conv2d(3, 6, 8, 8), nn.ReLU(), nn.AvgPool2d(2, 1), nn.Flatten(), nn.Linear(96, 10))

    net, other = seeded(build), images(2, seed=5)
    # A class whose logit is above 0 for an image: otherwise the map of Ablation-CAM may be 0 after ReLU.
    target = int(net(other)[0].argmax())
    module = cc.with_map(net, method, "1", inputs=images(2), target=target)
    assert {*module.form.buffers()}.pop().shape[2:] == ((1, 1) if method == "gradcam" else (5, 5))
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


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"gaussian": True}, {"score": "probability"}])
def test_hyperparameters_and_the_class(options):
    net, other = NETWORKS["plain"](), images(3, seed=5)
    module = cc.with_map(net, "reciprocam", "features", inputs=images(2), target=4, **options)
    close(module(other)[1], expected("reciprocam", net, "features", other, 4, **options))


@pytest.mark.slow
def test_a_size_is_the_interpolated_map():
    net = NETWORKS["residual"]()
    small, large = (cc.with_map(net, "gradcam", "layer4", inputs=images(1), size=size) for size in (None, (40, 40)))
    close(large(images(1))[1], F.interpolate(small(images(1))[1], (40, 40), mode="bilinear"))


def test_the_layer_is_found():
    net = NETWORKS["residual"]()
    close(cc.with_map(net, "hirescam", inputs=images(1))(images(2))[1], expected("hirescam", net, "layer4", images(2)))


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
    net, x = NETWORKS["residual"](), images(1)
    with pytest.raises(cc.CAMError, match='unknown exported method "scorecam"'):
        cc.with_map(net, "scorecam", "layer4", inputs=x)
    with pytest.raises(cc.CAMError, match=r"affine.* got relu"):
        cc.with_map(net, "gradcam", "layer3", inputs=x)
    with pytest.raises(cc.CAMError, match="index of one of them"):
        cc.with_map(net, "fem", "layer4", inputs=x, target=10)
    with pytest.raises(cc.CAMError, match="fixes the number of samples"):
        cc.with_map(small_vit(), "vitreciprocam", LAYER, inputs=x)
    with pytest.raises(cc.CAMError, match="images N×C×H×W"):
        cc.with_map(net, "gradcam", "layer4", inputs=x[0])
    with pytest.raises(cc.CAMError, match="CAM needs a head"):
        cc.with_map(NETWORKS["plain"](), "cam", "features", inputs=x)


@pytest.mark.slow
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
        cc.with_map(seeded(Branches), "eigencam", "conv", inputs=images(1))
    with pytest.raises(cc.CAMError, match="calls twice"):
        cc.with_map(seeded(Twice), "eigencam", "relu", inputs=images(1))


def test_the_model_and_the_module_share_nothing():
    net = NETWORKS["residual"]().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    flags = torch.backends.mha.get_fastpath_enabled()
    module = cc.with_map(net, "reciprocam", "layer4", inputs=images(1))
    maps = module(images(1))[1]
    assert net.training
    assert torch.backends.mha.get_fastpath_enabled() == flags
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert torch.equal(module(images(1))[1], maps)


def test_every_form_is_tested():
    assert {*FORMS} == {*ANY, *AFFINE, "vitreciprocam"}
