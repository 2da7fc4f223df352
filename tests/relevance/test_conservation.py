"""Relevance is conserved: what leaves the start arrives, or is counted where an output has no positive contribution."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import captum_cams as cc
from captum_cams.relevance import propagation, sharing
from tests.support.networks import NETWORKS, images, seeded
from tests.support.operations import Refused


class Lost:
    """Adds up the relevance that reaches outputs without a contribution, during a backward pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.total = torch.zeros(())
        backward = sharing.Given.backward

        def add(ctx, relevance):
            (total,) = ctx.saved_tensors
            self.total = self.total + relevance.where(total == 0, 0).double().sum()
            return backward(ctx, relevance)

        monkeypatch.setattr(sharing.Given, "backward", staticmethod(add))
        monkeypatch.setattr(propagation, "_exponent", lambda given: torch.zeros((), dtype=torch.int32))


def redraw(model: nn.Module, seed: int, shifts: bool) -> None:
    """Other random weights; without ``shifts`` every bias is zero, and what is positive has a positive share."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
            if isinstance(module, nn.BatchNorm2d) and not shifts:
                module.running_mean.zero_()
            if not shifts and getattr(module, "bias", None) is not None:
                module.bias.zero_()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    batch_norm=st.sampled_from(["identity", "fold"]),
    net=st.sampled_from(["plain", "batch norm", "functional ReLU"]),
)
def test_without_biases_all_of_it_arrives_at_every_layer(seed, batch_norm, net):
    model, x = NETWORKS[net](), images(3, seed)
    redraw(model, seed, shifts=False)
    if batch_norm == "fold":
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.weight[::2] *= -1
    score = model(x).detach().amax(1)
    assume(bool((score > 0).all()))
    layers = [None, *(m for m in model.modules() if isinstance(m, nn.Conv2d | nn.MaxPool2d))]
    for layer in layers:
        found = cc.LRP(model, layer, batch_norm=batch_norm).contributions(x).sum((1, 2, 3))
        if isinstance(layer, nn.Conv2d) and any(isinstance(m, nn.BatchNorm2d) for m in model.modules()):
            continue  # between a convolution and its BatchNorm, which are one layer where folded
        torch.testing.assert_close(found, score, rtol=1e-4, atol=0)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    batch_norm=st.sampled_from(["identity", "fold"]),
    net=st.sampled_from(list(NETWORKS)),
)
def test_with_biases_what_is_lost_is_known(seed, batch_norm, net):
    model, x = NETWORKS[net](), images(2, seed)
    redraw(model, seed, shifts=True)
    with pytest.MonkeyPatch.context() as patch:
        lost = Lost(patch)
        relevance = cc.LRP(model, batch_norm=batch_norm).contributions(x, 3).double()
    missing = relevance.sum() + lost.total - model(x)[:, 3].sum().double().detach()
    assert abs(float(missing)) <= 1e-4 * float(relevance.abs().sum() + lost.total.abs())


GATES = {
    "swish": lambda x: x * x.sigmoid(),
    "squeeze and excitation": lambda x: x * F.adaptive_avg_pool2d(x, 1).sigmoid(),
    "an expanded gate": lambda x: x * x.mean((2, 3), keepdim=True).sigmoid().expand_as(x),
    "hard swish": lambda x: x * F.hardtanh(x + 3, 0, 6) / 6,
    "shuffle": lambda x: F.channel_shuffle(torch.cat(x.chunk(2, 1)[::-1], 1), 2),
    "layer norm": lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2),
}


@pytest.mark.parametrize("operation", GATES)
def test_gates_and_rearrangements_conserve(operation, monkeypatch):
    model, x = seeded(lambda: Refused(GATES[operation])), images(2)
    lost = Lost(monkeypatch)
    relevance = cc.LRP(model, "conv").contributions(x, 1).double()
    missing = relevance.sum() + lost.total - model(x)[:, 1].sum().double().detach()
    assert abs(float(missing)) <= 1e-4 * float(relevance.abs().sum())


NETS = (
    *("resnet18", "resnet50", "densenet121", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0"),
    *("regnet_y_400mf", "shufflenet_v2_x1_0", "googlenet", "inception_v3", "convnext_tiny", "squeezenet1_0"),
    *("vgg16", "vgg16_bn"),
)


def settled(name: str) -> nn.Module:
    """A seeded network of torchvision whose BatchNorms have seen images."""
    options = {"init_weights": True, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = torchvision.models.get_model(name, weights=None, **options)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        model.train()(F.interpolate(images(4), (96, 96), mode="bilinear"))
    return model.eval()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Applied workaround")
@pytest.mark.parametrize("name", NETS)
def test_torchvision_networks_from_the_last_layer_to_the_pixels(name, monkeypatch):
    model, x = settled(name), F.interpolate(images(2, 7), (96, 96), mode="bilinear")
    lost = Lost(monkeypatch)
    for batch_norm in ("identity", "fold"):
        base = cc.GradCAM(model)
        start = base.contributions(x).double()
        lost.total = torch.zeros(())
        carried = cc.FGCAM(model, base=base, batch_norm=batch_norm).contributions(x).double()
        assert carried.shape == x.shape
        assert torch.isfinite(carried).all()
        assert carried.abs().sum() > 0
        missing = float(carried.sum() + lost.total - start.sum())
        assert abs(missing) <= 1e-4 * float(start.abs().sum())
        scores = model(x).amax(1).sum().double().detach()
        lost.total = torch.zeros(())
        relevance = cc.LRP(model, batch_norm=batch_norm).contributions(x).double()
        missing = float(relevance.sum() + lost.total - scores)
        assert abs(missing) <= 1e-4 * float(relevance.abs().sum() + lost.total.abs())
