"""LIFT-CAM and LRP-CAM at any layer: complete, Captum's where Captum serves, and the same for modules and functions."""

import warnings

import pytest
import torch
import torch.nn.functional as F
import torchvision
from captum.attr import DeepLift
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import captum_cams as cc
from captum_cams.engine.rescale import contributions
from tests.support.full_runs import full_run, layers_of
from tests.support.networks import NETWORKS, Residual, images, seeded


def weights_of(cam, x, target):
    kept, inner = [], cam.weights
    cam.weights = lambda seen: kept.append(inner(seen)) or kept[0]
    cam.attribute(x, target)
    return kept[0]


def change(model, layer, x, target):
    """y − y₀ by two full runs of one image."""
    kept = []
    handle = layer.register_forward_hook(lambda m, a, out: kept.append(out.clone()))
    with torch.no_grad():
        y = model(x.clone())
    handle.remove()
    with torch.no_grad():
        y0 = full_run(model, layer, x, torch.zeros_like(kept[-1]))
    return float(y[0, target] - y0[0, target])


def check_complete(model, name, x, target=3):
    layer = model.get_submodule(name)
    found = weights_of(cc.LIFTCAM(model, layer), x, target).sum(1)
    for n in range(len(x)):
        expected = change(model, layer, x[n : n + 1], target)
        assert abs(float(found[n]) - expected) <= 1e-3 * abs(expected), (name, float(found[n]), expected)


DEPTHS = {
    "resnet18": ("layer4.1.bn1", "layer4.0.downsample.1", "layer2"),
    "resnet50": ("layer4.2.conv2", "layer3.3.bn2", "layer2"),
    "efficientnet_b0": ("features.8.0", "features.6.0.block.1", "features.4.2.block.0.1"),
    "mobilenet_v3_small": ("features.11.block.1",),
}


@pytest.mark.parametrize("net", DEPTHS)
def test_contributions_add_up_to_the_change_of_the_score(net):
    model = seeded(lambda: getattr(torchvision.models, net)(weights=None))
    x = torch.nn.functional.interpolate(images(1), (48, 48), mode="bilinear")
    for name in DEPTHS[net]:
        check_complete(model, name, x)


@pytest.mark.parametrize("net", NETWORKS)
def test_every_layer_of_every_kind_of_network_is_complete(net):
    model, x = NETWORKS[net](), images(2)
    for name in layers_of(model, x)[::3]:
        check_complete(model, name, x)


def test_where_captum_serves_the_contributions_are_captums():
    # A max pooling next to an activation is left out: Captum's contributions are not complete there, by its own delta.
    torch.manual_seed(0)
    head = [nn.Conv2d(4, 6, 3), nn.MaxPool2d(2), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten()]
    tail = [
        nn.ELU(),
        nn.Linear(54, 20),
        nn.Tanh(),
        nn.Linear(20, 12),
        nn.LeakyReLU(0.2),
        nn.Linear(12, 8),
        nn.Sigmoid(),
    ]
    model = nn.Sequential(*head, *tail, nn.Linear(8, 5), nn.Softplus()).double().eval()
    for scale in (0.1, 1, 30):
        value = scale * torch.randn(1, 4, 12, 12, dtype=torch.float64)
        baseline = torch.randn_like(value) * torch.randint(2, value.shape)
        with warnings.catch_warnings():  # of its hooks and of gradients switched on
            warnings.simplefilter("ignore")
            expected, delta = DeepLift(model).attribute(value, baseline, 2, return_convergence_delta=True)
        assert float(delta.abs()) < 1e-12
        found = contributions(lambda values: model(values)[:, 2], value, baseline)
        torch.testing.assert_close(
            found, expected.detach(), rtol=1e-9, atol=1e-10 * float(expected.detach().abs().max())
        )


class Parts(nn.Module):
    """A block and a head behind ``first``; ``operations`` are modules or functions, which compute the same."""

    def __init__(self, operations, channels: int = 6) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, channels, 3, 2, 1), operations["shared"])
        self.block = nn.Conv2d(channels, channels, 3, 1, 1)
        self.norm = nn.BatchNorm2d(channels)
        self.squeeze, self.excite = nn.Conv2d(channels, 3, 1), nn.Conv2d(3, channels, 1)
        self.fc1, self.fc2 = nn.Linear(channels, 8), nn.Linear(8, 5)
        self.operations, self.functions = nn.ModuleDict(operations), None
        self.gated = True

    def op(self, name, x):
        return self.operations[name](x) if self.functions is None else self.functions[name](x)

    def forward(self, x):
        x = self.first(x)
        z = self.norm(self.block(x))
        z = self.op("shared", z)
        if self.gated:
            gate = self.excite(self.op("inner", self.squeeze(self.op("mean", z))))
            z = z * self.op("gate", gate)
        z = self.op("last", z + x)
        z = self.op("flat", self.op("mean", self.op("pool", z)))
        return self.fc2(self.op("inner", self.fc1(z)))


ACTIVATIONS = {
    "relu": (nn.ReLU, F.relu),
    "in-place relu": (lambda: nn.ReLU(inplace=True), torch.relu_),
    "silu": (nn.SiLU, F.silu),
    "relu6": (nn.ReLU6, lambda x: x.clamp(0, 6)),
    "hardswish": (lambda: nn.Hardswish(inplace=True), F.hardswish),
    "gelu": (nn.GELU, F.gelu),
    "leaky": (lambda: nn.LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2)),
    "elu": (nn.ELU, F.elu),
    "mish": (nn.Mish, F.mish),
    "tanh": (nn.Tanh, torch.tanh),
}
POOLS = {
    "overlapping": (lambda: nn.MaxPool2d(3, 2, 1), lambda x: F.max_pool2d(x, 3, 2, padding=1)),
    "max": (lambda: nn.MaxPool2d(2), lambda x: F.max_pool2d(x, kernel_size=2)),
    "adaptive": (lambda: nn.AdaptiveMaxPool2d(3), lambda x: F.adaptive_max_pool2d(x, 3)),
    "average": (lambda: nn.AvgPool2d(2), lambda x: F.avg_pool2d(x, 2)),
    "none": (nn.Identity, lambda x: x),
}


def pair(seed, chosen, gated):
    kinds = {
        "mean": (lambda: nn.AdaptiveAvgPool2d(1), lambda x: x.mean((2, 3), keepdim=True)),
        "gate": (nn.Sigmoid, torch.sigmoid),
        "flat": (nn.Flatten, lambda x: x.flatten(1)),
        **chosen,
    }
    modules = seeded(lambda: Parts({name: kind[0]() for name, kind in kinds.items()}), seed)
    functions = seeded(lambda: Parts({name: kind[0]() for name, kind in kinds.items()}), seed)
    functions.functions = {name: kind[1] for name, kind in kinds.items()}
    modules.gated = functions.gated = gated
    return modules, functions


activations, pools = st.sampled_from(sorted(ACTIVATIONS)), st.sampled_from(sorted(POOLS))


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 99), shared=activations, inner=activations, last=activations, pool=pools, gated=st.booleans()
)
def test_modules_and_functions_have_the_same_contributions(seed, shared, inner, last, pool, gated):
    names = {"shared": shared, "inner": inner, "last": last}
    chosen = {place: ACTIVATIONS[name] for place, name in names.items()} | {"pool": POOLS[pool]}
    modules, functions = pair(seed, chosen, gated)
    x = images(2, seed)
    for layer in ("first", "norm", "operations.shared"):
        if layer != "operations.shared":  # functions have no such module
            for method in (cc.LIFTCAM, cc.LRPCAM):
                found = [weights_of(method(model, layer), x, 1) for model in (modules, functions)]
                bound = 1e-4 * float(found[0].abs().max()) + 1e-7
                torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=bound)
        check_complete(modules, layer, x, 1)


class Attending(nn.Module):
    """Tokens, normalisations of three kinds, attention, a product of maps and a division."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 4, 4), nn.GroupNorm(2, 8)
        self.first, self.attention = nn.LayerNorm(8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.second, self.mlp = nn.RMSNorm(8), nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.norm(self.stem(x)).flatten(2).mT
        y = self.first(x)
        x = x + self.attention(y, y, y)[0]
        y = F.scaled_dot_product_attention(*(x[:, None],) * 3)[:, 0]
        x = x + self.mlp(self.second(x)) + y
        return self.fc(x.mean(1) / (1 + x.square().mean((1, 2))[:, None]))


def test_attention_normalisations_products_and_divisions_are_complete():
    model = seeded(Attending)
    check_complete(model, "stem", images(2))
    check_complete(model, "norm", images(2))


def test_a_normalisation_keeps_its_scale_from_a_baseline_of_zeros():
    torch.manual_seed(0)
    value, weight = torch.randn(1, 6, 5, 4).double(), torch.randn(4).double()
    norm = nn.LayerNorm(4).double()
    norm.bias.data.normal_()
    norm.weight.data.normal_()
    centred = value - value.mean(-1, keepdim=True)
    scale = (value.var(-1, correction=0, keepdim=True) + norm.eps).rsqrt()
    outer = norm.weight.detach() * weight * scale
    expected = value * (outer - outer.mean(-1, keepdim=True))
    found = contributions(lambda values: (norm(values) * weight).sum((1, 2, 3)), value, torch.zeros_like(value))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(-1), (centred * outer).sum(-1))


class _Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.relu()

    @staticmethod
    def backward(ctx, gradient):
        return gradient / 2


class Odd(nn.Module):
    def __init__(self, kind) -> None:
        super().__init__()
        self.conv, self.fc, self.kind = nn.Conv2d(3, 4, 3), nn.Linear(4, 5), kind

    def forward(self, x):
        return self.fc(self.kind(self.conv(x)).mean((2, 3)))


REFUSED = {
    "a gradient of its own": _Halved.apply,
    "steps without a gradient": lambda x: (3 * x).round(),
    "other steps": lambda x: x.relu() if x.abs().sum() > 0 else x.tanh(),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_complete_is_refused(kind):
    model = seeded(lambda: Odd(REFUSED[kind]))
    with pytest.raises(cc.CAMError, match="Ablation-CAM"):
        cc.LIFTCAM(model, "conv").attribute(images(2), 1)


def test_lrpcam_refuses_what_it_has_no_rule_for():
    model = seeded(lambda: Odd(lambda x: x.sort(2).values))
    with pytest.raises(cc.CAMError, match="sort"):
        cc.LRPCAM(model, "conv").attribute(images(2), 1)


@pytest.mark.parametrize("epsilon", [1e-6, 0.05])
def test_the_epsilon_rule_inside_a_residual_block(epsilon):
    """By hand: conv and BatchNorm are one linear layer, ReLU passes relevance, an addition shares it by its terms."""
    layers = nn.Conv2d(3, 4, 3), Residual(4, 4, 1), nn.Flatten(), nn.Linear(4 * 38 * 38, 5)
    model, x = seeded(lambda: nn.Sequential(*layers)).double(), images(1).double()
    block, fc = model[1], model[3]
    found = weights_of(cc.LRPCAM(model, "1.bn1", epsilon=epsilon), x, 2)[0]
    with torch.no_grad():
        skip = model[0](x)
        a = block.bn1(block.conv1(skip))
        inner = a.relu()
        z = block.bn2(block.conv2(inner))
        out = (z + skip).relu()
        score = fc(out.flatten(1))
    share = score[0, 2] / (score[0, 2] + epsilon * score[0, 2].sign())
    relevance = (fc.weight[2].detach() * out.flatten() * share).view_as(out)
    relevance = torch.where(out > 0, relevance * z / (z + skip), 0)
    scale = block.bn2.weight * (block.bn2.running_var + block.bn2.eps).rsqrt()
    weight = block.conv2.weight * scale[:, None, None, None]
    ratio = relevance / (z + epsilon * z.sign())
    expected = inner * F.conv_transpose2d(ratio, weight, padding=1)
    torch.testing.assert_close(found, expected[0].flatten(1).sum(1).detach(), rtol=1e-6, atol=1e-9)


class _WrongGradient(torch.autograd.Function):
    """A ReLU whose gradient is a fifth too large."""

    @staticmethod
    def forward(ctx, x):
        return x.relu()

    @staticmethod
    def backward(ctx, gradient):
        return 1.2 * gradient


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_does_not_add_up_is_refused_in_every_precision(dtype):
    model = seeded(lambda: Odd(_WrongGradient.apply)).to(dtype)
    with pytest.raises(cc.CAMError, match="add up"):
        cc.LIFTCAM(model, "conv").attribute(images(2).to(dtype), 1)
