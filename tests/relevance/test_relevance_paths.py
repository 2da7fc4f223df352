"""Networks on which relevance could take a wrong way: each against the same network, written plainly."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import captum_cams as cc
from captum_cams.metrics import energy_inside
from tests.support.networks import NETWORKS, images, seeded
from tests.support.operations import Swish
from tests.support.untouched import same, state


class Branch(nn.Module):
    """A skip around a convolution; ``inner`` is what lies between."""

    def __init__(self, inner) -> None:
        super().__init__()
        self.inner = inner
        self.first, self.second, self.last = nn.Conv2d(3, 6, 3, 1, 1), nn.Conv2d(6, 6, 3, 1, 1), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.inner(self, 3 * self.first(x)).mean((2, 3)))


def maps(inner, x: Tensor, name: str, **options) -> Tensor:
    return cc.create(name, seeded(lambda: Branch(inner)), **options).attribute(x, 1, relu_attributions=False)


def statement(change):
    def inner(net, x):
        change(x)
        return x + net.second(x)

    return inner


INPLACE = {
    "relu6": (statement(lambda x: F.relu6(x, inplace=True)), F.relu6),
    "silu": (statement(lambda x: F.silu(x, inplace=True)), F.silu),
    "hardswish": (statement(lambda x: F.hardswish(x, inplace=True)), F.hardswish),
    "clamp": (statement(lambda x: x.clamp_(0, 2)), lambda x: x.clamp(0, 2)),
    "sigmoid": (statement(lambda x: x.sigmoid_()), torch.sigmoid),
    "relu": (statement(lambda x: x.relu_()), torch.relu),
}


@pytest.mark.parametrize("activation", INPLACE)
@pytest.mark.parametrize("name", ["lrp", "fgcam"])
def test_an_activation_in_place_changes_what_the_skip_carries(activation, name):
    inplace, function = INPLACE[activation]

    def plain(net, x):
        x = function(x)
        return x + net.second(x)

    options = {"layer": "second"} if name == "fgcam" else {}
    found, expected = (maps(inner, images(2), name, **options) for inner in (inplace, plain))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_relevance_returns_to_where_the_pixels_were():
    net, x = NETWORKS["plain"](), images(2)
    plain = cc.LRP(net).contributions(x, 3)
    mirrored = cc.LRP(lambda z: net(z.flip(3))).contributions(x.flip(3), 3).flip(3)
    torch.testing.assert_close(mirrored, plain)
    both = cc.LRP(lambda z: (net(z) + net(z.flip(3))) / 2).contributions(x, 3)
    other = cc.LRP(net).contributions(x.flip(3), 3).flip(3)
    torch.testing.assert_close(both, (plain + other) / 2, rtol=1e-3, atol=1e-5 * float(plain.abs().max()))
    normalised = cc.LRP(lambda z: net((z - 0.3) / 0.5)).contributions(0.5 * x + 0.3, 3)
    torch.testing.assert_close(normalised, plain, rtol=1e-3, atol=1e-4 * float(plain.abs().max()))
    padded = cc.LRP(lambda z: net(F.pad(z, (4, 4, 4, 4), "reflect"))).contributions(x, 3)
    whole = cc.LRP(net).contributions(F.pad(x, (4, 4, 4, 4), "reflect"), 3)
    torch.testing.assert_close(padded[..., 8:-8, 8:-8], whole[..., 12:-12, 12:-12])
    torch.testing.assert_close(padded.sum(), whole.sum())
    named = cc.LRP(lambda z: net.forward(x=z)).contributions(x, 3)
    torch.testing.assert_close(named, plain)


def test_a_network_without_convolutions_gives_an_image_too():
    net = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 40 * 40, 12), nn.ReLU(), nn.Linear(12, 5)))
    x = images(2)
    found = cc.LRP(net).contributions(x, 1)
    assert found.shape == x.shape
    torch.testing.assert_close(cc.LRP(net).heatmap(x, 1).shape, torch.Size((2, 40, 40)))
    flat = cc.LRP(net[1:]).contributions(x.flatten(1), 1)
    torch.testing.assert_close(found.flatten(1), flat)


def test_crops_and_scales_of_the_input_add_up():
    net, x = NETWORKS["residual"](), images(2)
    crops = cc.LRP(lambda z: sum(net(torch.cat((z[..., :30], z[..., 10:]))).chunk(2))).contributions(x, 3)
    assert crops.shape == x.shape
    left, right = cc.LRP(net).contributions(x[..., :30], 3), cc.LRP(net).contributions(x[..., 10:], 3)
    expected = F.pad(left, (0, 10)) + F.pad(right, (10, 0))
    torch.testing.assert_close(crops, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    pooled = cc.LRP(lambda z: net(z) + net(F.avg_pool2d(z, 2))).contributions(x, 3)
    small = cc.LRP(net).contributions(F.avg_pool2d(x, 2), 3).repeat_interleave(2, 2).repeat_interleave(2, 3) / 4
    expected = cc.LRP(net).contributions(x, 3) + small
    torch.testing.assert_close(pooled, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


with warnings.catch_warnings():  # scripts are deprecated, but people have them
    warnings.simplefilter("ignore")
    scripted = torch.jit.script(swish)


HIDDEN = {
    "a script": lambda net, x: x + net.second(scripted(x)),
    "a function of its own, then a plain one": lambda net, x: x + net.second(F.pad(Swish.apply(x), (1, 1)))[..., 1:-1],
    "a write to part of a tensor": lambda net, x: _by_parts(net, x),
}


def _by_parts(net: Branch, x: Tensor) -> Tensor:
    total = torch.zeros_like(x)
    total[:, :3].add_(x[:, :3])
    return x + net.second(total)


@pytest.mark.parametrize("kind", HIDDEN)
def test_what_is_out_of_sight_is_refused_and_never_guessed(kind):
    with pytest.raises((cc.CAMError, RuntimeError)) as caught:
        maps(HIDDEN[kind], images(2), "lrp")
    if kind != "a write to part of a tensor":  # there autograd itself refuses
        assert "relevance cannot pass" in str(caught.value)


def test_what_cannot_be_followed_back_is_explained():
    def recomputed(net, x):
        return x + checkpoint(net.second, x, use_reentrant=False)

    with pytest.raises(cc.CAMError, match="switch off checkpointing"):
        maps(recomputed, images(1), "lrp")

    def frozen(net, x):
        with torch.no_grad():
            return net.second(x)

    with pytest.raises(cc.CAMError, match="run under no_grad"):
        maps(frozen, images(1), "lrp")
    keyword = maps(lambda net, x: net.second(torch.mul(x, other=2.0)), images(1), "lrp")
    torch.testing.assert_close(keyword, maps(lambda net, x: net.second(x * 2), images(1), "lrp"))
    gate = maps(lambda net, x: net.second(x) * (1 - x.mean((2, 3), keepdim=True).sigmoid()), images(1), "lrp")
    assert gate.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_small_relevance_survives_half_precision(dtype):
    model, x = NETWORKS["batch norm"](), images(2)
    with torch.no_grad():
        model.classifier[-1].bias[1] = -8  # an unlikely class, whose products of probabilities are tiny
    expected = cc.SGLRP(model).attribute(x, 1)
    found = cc.SGLRP(model.to(dtype)).attribute(x.to(dtype), 1)
    pair = torch.stack((found.flatten(), expected.flatten()))
    assert torch.corrcoef(pair)[0, 1] > 0.95
    assert 0.5 < float(found.abs().sum() / expected.abs().sum()) < 2


def test_a_statistic_in_a_buffer_stays_without_a_graph():
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
            self.register_buffer("mean", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x).relu()
            self.mean.mul_(0.9).add_(0.1 * x.mean())
            return self.fc(x.mean((2, 3)))

    model, x = seeded(Counting), images(2)
    before = state(model)
    for name in ("gradcam", "lrp", "fgcam", "relevancecam", "jittercam"):
        cc.create(name, model, "conv").attribute(x, 1)
        assert same(before, state(model))
        assert not model.mean.requires_grad
        assert not vars(model.mean)
        copy.deepcopy(model)


def test_scores_that_are_no_numbers_or_no_scores_are_refused():
    model, x = NETWORKS["plain"](), images(2)
    with pytest.raises(cc.CAMError, match="one score per sample, expected 2, got 2×10"):
        cc.LRP(model).attribute(x, lambda output: output)
    with pytest.raises(cc.CAMError, match="must return one tensor of scores, got dict"):
        cc.LRP(lambda z: {"one": model(z), "other": model(z)}).attribute(x, 1)
    with torch.no_grad():
        model.classifier[-1].bias[1] = torch.nan
    for name in ("lrp", "clrp", "sglrp", "relevancecam"):
        with pytest.raises(cc.CAMError, match=r"scores of the model .* must be finite"):
            cc.create(name, model).attribute(x, 1)


def test_volumes_keep_their_channels_and_their_scale():
    net = nn.Sequential(nn.Conv3d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(6, 5))
    model, x = seeded(lambda: net), torch.rand(2, 3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    per_channel = ([-1.0, -2.0, -3.0], [2.0, 3.0, 4.0])
    shaped = tuple(torch.tensor(bound).reshape(1, 3, 1, 1, 1).expand(1, 3, 3, 8, 8).tolist() for bound in per_channel)
    found, expected = (cc.LRP(model, pixel_range=given).attribute(x, 1) for given in (per_channel, shaped))
    torch.testing.assert_close(found, expected)
    volume = torch.rand(1, 3, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    fused = cc.MultiLayerCAM(model, base="layercam", layers=["1"]).attribute(volume)
    assert (fused.amax((0, 1, 3, 4)) == 1).sum() == 1  # one slice holds the largest value


def test_a_box_outside_the_image_holds_no_energy():
    maps_ = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    for box in ([-8, -8, -2, -2], [2, -8, 10, -1], [20, 2, 30, 8]):
        assert energy_inside(maps_, [torch.tensor([box])], (16, 16)) == 0
    half = energy_inside(maps_, [torch.tensor([[-8, -8, 8, 16]])], (16, 16))
    torch.testing.assert_close(half, energy_inside(maps_, [torch.tensor([[0, 0, 8, 16]])], (16, 16)))


def test_sess_asks_for_scores_that_can_weigh():
    model, x = NETWORKS["plain"](), images(1)
    with pytest.raises(cc.CAMError, match="ends in a sigmoid"):
        cc.SESS(model, scales=2, step=8).attribute(x, lambda output: output[:, 1] - 100)
