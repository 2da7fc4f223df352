"""Maps with a graph: their gradients are those of plain torch, and the model is left as it was."""

import pytest
import torch
from torch import nn

import captum_cams as cc
from captum_cams.registry import lookup
from tests.support.networks import NETWORKS, TinyRes, images, seeded
from tests.support.plain_maps import OPTIONS, PLAIN, gradients, plain_maps
from tests.support.untouched import same, state

TARGET = [3, 7]
ABLE = [name for name in cc.names() if lookup(name).differentiable]
LAYERS = {"residual": "layer3", "batch norm": "features.10"}
PAIRS = [(name, net) for name in PLAIN if name != "cam" for net in LAYERS] + [("cam", "residual")]


def layer_of(name, net="residual"):
    return "layer4" if name == "cam" else LAYERS[net]


def loss_of(maps):
    """A loss that weighs each position differently."""
    weights = torch.linspace(-1, 2, maps[0].numel(), dtype=maps.dtype).reshape(maps.shape[1:])
    return (maps * weights).sum() + (maps**2).mean()


def close(found, expected):
    size = max(float(value.abs().max()) for value in expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9 * size)


def test_each_method_that_says_so_has_a_plain_form():
    assert sorted(PLAIN) == ABLE


@pytest.mark.parametrize(("name", "net"), PAIRS)
def test_gradients_are_those_of_plain_torch(name, net):
    model, x, layer = NETWORKS[net]().double(), images(2).double().requires_grad_(), layer_of(name, net)
    expected = plain_maps(name, model, layer, x, TARGET)
    wanted = gradients(loss_of(expected), model, x)
    explainer = cc.create(name, model.train(), layer, **OPTIONS.get(name, {}))
    found = explainer.attribute(x, TARGET, relu_attributions=False, differentiable=True)[:, 0]
    torch.testing.assert_close(found.detach(), expected.detach())
    assert any(grad.any() for grad in wanted[:-1])
    close(gradients(loss_of(found), model, x), wanted)
    assert not explainer.attribute(x, TARGET).requires_grad


@pytest.mark.parametrize("name", ABLE)
def test_nothing_is_touched_and_a_step_in_between_changes_no_gradient(name):
    model, x, layer = seeded(TinyRes).double(), images(2).double(), layer_of(name)
    wanted = gradients(loss_of(plain_maps(name, model, layer, x, TARGET).relu()), model, x)
    model.train()
    model.layer2.eval()
    before = state(model)
    maps = cc.create(name, model, layer, **OPTIONS.get(name, {})).attribute(
        x, TARGET, relu_attributions=True, differentiable=True
    )
    assert same(before, state(model))
    model(5 * x + 1)  # changes the statistics of the batch norms before the backward pass reads them
    close(gradients(loss_of(maps[:, 0]), model, x), wanted)


def test_a_plain_function_is_explained_with_statistics_of_its_own():
    model, x = seeded(TinyRes).double(), images(2).double()
    wanted = gradients(loss_of(plain_maps("gradcam", model, "layer3", x, TARGET).relu()), model, x)
    buffers = [*model.buffers()]
    maps = cc.GradCAM(lambda x: model.train()(x), model.layer3).attribute(x, TARGET, differentiable=True)
    assert all(one is other for one, other in zip(buffers, model.buffers(), strict=True))
    model(5 * x + 1)
    close(gradients(loss_of(maps[:, 0]), model, x), wanted)


class Counting(TinyRes):
    """Writes to a buffer that it reads, in eval mode too, and shares it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(()))
        self.fc.register_buffer("scale", self.scale)

    def forward(self, x):
        self.scale += 1
        return super().forward(x) * self.fc.scale


def test_a_buffer_that_the_run_changes_is_put_back_and_the_graph_stays_right():
    model, x = seeded(Counting).double(), images(2).double()
    maps = cc.GradCAM(model, "layer3").attribute(x, TARGET, differentiable=True)
    found = gradients(loss_of(maps[:, 0]), model, x)
    assert model.scale == 1
    close(found, gradients(loss_of(plain_maps("gradcam", model, "layer3", x, TARGET).relu()), model, x))


@pytest.mark.parametrize("frozen", ["conv1", "layer4", "fc", "layer1 layer2 layer3 conv1 bn1"])
def test_frozen_parts_stay_frozen(frozen):
    model, x = seeded(TinyRes).double(), images(2).double()
    wanted = gradients(loss_of(plain_maps("layercam", model, "layer3", x, TARGET).relu()), model, x)
    for part in frozen.split():
        getattr(model, part).requires_grad_(False)
    maps = cc.LayerCAM(model, "layer3").attribute(x, TARGET, differentiable=True)
    loss_of(maps[:, 0]).backward()
    for parameter, grad in zip(model.parameters(), wanted, strict=False):
        if parameter.requires_grad:
            close([torch.zeros_like(grad) if parameter.grad is None else parameter.grad], [grad])
        else:
            assert parameter.grad is None


@pytest.mark.parametrize("at_input", [False, True])
def test_contributions_and_heat_maps_keep_the_graph(at_input):
    model, x = seeded(TinyRes).double(), images(2).double()
    cam = cc.GradCAM(model, "layer3")
    shares = cam.contributions(x, TARGET, attribute_to_layer_input=at_input, differentiable=True)
    maps = cam.attribute(x, TARGET, attribute_to_layer_input=at_input, differentiable=True)
    close(gradients(loss_of(shares.sum(1).relu()), model, x), gradients(loss_of(maps[:, 0]), model, x))
    heat = cam.heatmap(x, TARGET, differentiable=True)
    assert heat.shape == (2, 40, 40)
    step = 1e-6
    (slope,) = torch.autograd.grad(loss_of(heat), model.fc.weight)
    direction = torch.randn(slope.shape, generator=torch.Generator().manual_seed(0), dtype=slope.dtype)
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            model.fc.weight += sign * step * direction
            values.append(loss_of(cam.heatmap(x, TARGET)))
            model.fc.weight -= sign * step * direction
    torch.testing.assert_close((values[0] - values[1]) / (2 * step), (slope * direction).sum(), rtol=1e-5, atol=0)


def test_several_equal_weak_patterns_do_not_spoil_the_strongest():
    model, x = seeded(TinyRes).double(), images(2).double()
    with torch.no_grad():
        for part in (model.layer3[0].bn2, model.layer3[0].downsample[1]):
            part.weight[:15], part.bias[:15] = 0, -1  # dead channels: singular values of 0
    maps = cc.EigenCAM(model, "layer3").attribute(x, differentiable=True)
    found = gradients(loss_of(maps[:, 0]), model, x)
    assert all(grad.isfinite().all() for grad in found)
    assert found[0].any()


def test_two_equally_strong_patterns_have_no_derivative():
    x = torch.zeros(2, 2, 4, 4)
    x[0, 0, 0, 0] = x[0, 1, 3, 3] = 1  # one pattern in each channel, of the same strength
    x[0, 0, 0, 1] = x[0, 1, 3, 2] = -1
    model = nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2)[..., None, None])
    for sample in x.split(1):  # the second is constant
        cc.EigenCAM(model, "0").attribute(sample)
        with pytest.raises(cc.CAMError, match="leave such images out"):
            cc.EigenCAM(model, "0").attribute(sample, differentiable=True)
