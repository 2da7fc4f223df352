"""Relevance against dense matrices, its conservation, and what the engine refuses."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import captum_cams as cc
from captum_cams.engine.layers import Place
from captum_cams.wrappers.fgcam import denoise
from tests.support.networks import NETWORKS, images, seeded
from tests.support.operations import Refused, Swish
from tests.support.untouched import same, state

LINEAR = {
    "strided": (nn.Conv2d(4, 6, 3, 2, 1), (2, 4, 7, 8)),
    "dilated": (nn.Conv2d(4, 6, 3, 1, 2, dilation=2), (2, 4, 7, 8)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), (2, 4, 7, 8)),
    "depthwise": (nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), (2, 4, 7, 8)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, 2, 1), (2, 4, 5, 4)),
    "1-D": (nn.Conv1d(4, 6, 3), (2, 4, 9)),
    "3-D": (nn.Conv3d(2, 3, 2), (2, 2, 4, 3, 4)),
    "Linear": (nn.Linear(8, 5), (2, 3, 8)),
}


def matrix(layer: nn.Module, x: Tensor) -> Tensor:
    """The layer without its bias as outputs × inputs, for one sample."""
    zero = torch.zeros_like(x[:1])
    jacobian = torch.autograd.functional.jacobian(lambda one: layer(one), zero)
    return jacobian.reshape(layer(zero).numel(), zero.numel())


def signed(*shape: int, seed: int = 0) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.where(values.abs() > 0.3, 0)


def carried(model: nn.Module, x: Tensor, relevance: Tensor, end: nn.Module | None, **options) -> Tensor:
    x = x.clone()
    with cc.Propagation(**options).trail(model, x if end is None else Place(end)) as trail:
        output = model(x.clone())
    return trail.back(relevance, output)


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("positive", [False, True])
def test_z_plus_is_the_dense_formula(name, positive):
    layer, shape = LINEAR[name]
    layer = seeded(lambda: layer).double()
    x = signed(*shape)
    x = x.abs() if positive else x
    relevance = signed(*layer(x).shape, seed=1)
    found = carried(nn.Sequential(start := nn.Identity(), layer), x, relevance, start)
    weight = matrix(layer, x)
    for n in range(2):
        flat = x[n].flatten()
        shares = flat.clamp(min=0) * weight.clamp(min=0) + flat.clamp(max=0) * weight.clamp(max=0)
        z = shares.sum(1)
        ratio = torch.where(z == 0, 0, relevance[n].flatten() / z.where(z != 0, 1))
        torch.testing.assert_close(found[n].flatten(), shares.T @ ratio)


def column(bound) -> Tensor:
    return torch.as_tensor(bound, dtype=torch.float64).reshape(-1, 1, 1)


@pytest.mark.parametrize("pixel_range", [None, (-2.0, 3.0), ([-1.0, -2.0, -3.0], [1.0, 2.0, 4.0])])
@pytest.mark.parametrize("stride", [1, 2])
def test_z_beta_is_the_dense_formula(pixel_range, stride):
    layer = seeded(lambda: nn.Conv2d(3, 5, 3, stride, 1)).double()
    x = signed(2, 3, 6, 7).clamp(-0.9, 0.9)
    relevance = signed(*layer(x).shape, seed=1)
    found = carried(layer, x, relevance, None, pixel_range=pixel_range)
    weight = matrix(layer, x)
    for n in range(2):
        low, high = (x[n].min(), x[n].max()) if pixel_range is None else pixel_range
        low, high = (
            torch.as_tensor(b, dtype=x.dtype).reshape(-1, 1, 1).expand(x[n].shape).flatten() for b in (low, high)
        )
        shares = x[n].flatten() * weight - low * weight.clamp(min=0) - high * weight.clamp(max=0)
        torch.testing.assert_close(found[n].flatten(), shares.T @ (relevance[n].flatten() / shares.sum(1)))


class Functional(nn.Module):
    """What :func:`modules` builds, written with functions."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        _, conv, norm, _, _, wide, _, _, _, _, fc = self.layers
        x = F.conv2d(self.layers[0](x), conv.weight, conv.bias, padding=1)
        x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        x = torch.max_pool2d(x.relu_(), 2)
        x = torch.conv2d(x, wide.weight, wide.bias)
        x = F.avg_pool2d(F.silu(x), 2).mean((2, 3), keepdim=True)
        return F.linear(torch.flatten(F.dropout(x, training=False), 1), fc.weight, fc.bias)


def modules() -> nn.Sequential:
    return nn.Sequential(
        nn.Identity(),
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 6, 3),
        nn.SiLU(inplace=True),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    )


@pytest.mark.parametrize("batch_norm", ["identity", "fold"])
@pytest.mark.parametrize("at_input", [True, False])
def test_functions_are_carried_as_modules_are(batch_norm, at_input):
    layers, x = seeded(modules), images(2)
    layer = None if at_input else layers[0]
    with_modules = cc.LRP(layers, layer, batch_norm=batch_norm).attribute(x, 1)
    with_functions = cc.LRP(Functional(layers), layer, batch_norm=batch_norm).attribute(x, 1)
    assert with_modules.any()
    torch.testing.assert_close(with_functions, with_modules)


def test_a_folded_batchnorm_is_that_of_the_merged_convolution():
    model, x = NETWORKS["batch norm"]().double(), images(2).double()
    with torch.no_grad():  # a positive scale changes no share
        for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
            norm.weight[::2] *= -1
    merged = torch.nn.utils.fusion.fuse_conv_bn_eval
    layers, features = [], list(model.features)
    for layer, following in zip(features, [*features[1:], None], strict=True):
        if isinstance(following, nn.BatchNorm2d):
            layers.append(merged(layer, following))
        elif not isinstance(layer, nn.BatchNorm2d):
            layers.append(layer)
    plain = nn.Sequential(nn.Sequential(*layers), model.avgpool, nn.Flatten(), model.classifier)
    folded = cc.LRP(model, batch_norm="fold").attribute(x, 3)
    assert float((folded - cc.LRP(model).attribute(x, 3)).abs().max()) > 0.01 * float(folded.abs().max())
    torch.testing.assert_close(folded, cc.LRP(plain).attribute(x, 3))


def test_starts_differ_and_nothing_else():
    model, x = NETWORKS["residual"](), images(2)
    y = model(x).detach()
    p = y.softmax(1)
    onehot = F.one_hot(torch.tensor([3, 3]), 10).bool()
    starts = {
        "lrp": y * onehot,
        "clrp": torch.where(onehot, y[:, 3:4], -y[:, 3:4] / 9),
        "sglrp": torch.where(onehot, p * (1 - p), -p[:, 3:4] * p),
    }
    for name, start in starts.items():
        found = cc.create(name, model).contributions(x, 3)
        torch.testing.assert_close(
            found, carried(model, x, start, None), rtol=1e-4, atol=1e-6 * float(found.abs().max())
        )
    relevance = carried(model, x, onehot * 1.1 - 0.1, model.layer4)
    weights = cc.RelevanceCAM(model, "layer4").contributions(x, 3)
    seen = []
    model.layer4.register_forward_hook(lambda module, args, output: seen.append(output.detach()))
    model(x)
    torch.testing.assert_close(weights, relevance.mean((2, 3), keepdim=True) * seen[-1], rtol=1e-4, atol=1e-7)


def test_denoising_keeps_one_value_of_few():
    components = torch.randn(2, 6, 2, 3, generator=torch.Generator().manual_seed(0))
    rebuilt = denoise(components).flatten(2)
    assert torch.linalg.matrix_rank(rebuilt).tolist() == [1, 1]
    rows = components.flatten(2)
    left, values, right = torch.linalg.svd(rows - rows.mean(2, keepdim=True))
    torch.testing.assert_close(rebuilt, values[:, 0, None, None] * left[:, :, :1] @ right[:, :1])


def masked(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, :, 1] = 0  # not at the edge, where a model that reads only a part of its image is refused
    return x


@pytest.mark.parametrize(
    ("operation", "word"),
    [
        (lambda x: x.exp(), "exp"),
        (lambda x: x.sigmoid() * x.flip(1).sigmoid(), "mul"),
        (lambda x: x.sigmoid() @ x.transpose(2, 3).sigmoid() @ x, "matmul"),
        (lambda x: 1 / (x + 9), "rdiv"),
        (lambda x: F.conv2d(x, x[:1, :1, :3, :3].expand(4, 4, 3, 3)), "its weight depends on the input"),
        (Swish.apply, "Swish"),
        (masked, "setitem"),
    ],
)
def test_an_operation_without_a_rule_is_named_with_its_place(operation, word):
    model, x = seeded(lambda: Refused(operation)), images(2)
    before = state(model)
    for cam in (cc.FGCAM(model, layer="last"), cc.LRP(model), cc.LRP(model, "conv")):
        with pytest.raises(cc.CAMError, match="relevance cannot pass") as caught:
            cam.attribute(x, 1)
        assert word in str(caught.value)
        assert "inner (Operation)" in str(caught.value) or word == "Swish"
    assert same(before, state(model))
    assert cc.FGCAM(model, layer="last", to="inner").attribute(x, 1).any()


def test_misuse_is_explained():
    model, x = NETWORKS["residual"](), images(2)
    with pytest.raises(cc.CAMError, match=r"flow from layer2 \(Sequential\) to layer4 \(Sequential\)"):
        cc.FGCAM(model, layer="layer2", to="layer4").attribute(x)
    with pytest.raises(cc.CAMError, match="did you mean"):
        cc.FGCAM(model, to="layer9")
    with pytest.raises(cc.CAMError, match="map per channel"):
        cc.create("fgcam(reciprocam)", model).attribute(x)
    with pytest.raises(cc.CAMError, match="map per channel"):
        cc.create("fgcam(lrp)", model).attribute(x)
    with pytest.raises(cc.CAMError, match="batch_norm must be one of"):
        cc.FGCAM(model, batch_norm="merge")
    for bad in ((1.0, 0.0), (0.0,), 3.0):
        with pytest.raises(cc.CAMError, match="low < high"):
            cc.FGCAM(model, pixel_range=bad)
    with pytest.raises(cc.CAMError, match="must broadcast to the input"):
        cc.FGCAM(model, pixel_range=([0.0, 0.0], [1.0, 1.0])).attribute(x)
    with pytest.raises(cc.CAMError, match="needs scores N×classes, got 2"):
        cc.CLRP(lambda inputs: model(inputs)[:, 0]).attribute(x)
