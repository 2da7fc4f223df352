"""Attributions of Captum as explainers: its own numbers, reduced as declared, and an untouched model."""

import random

import numpy as np
import pytest
import torch
from captum import attr
from torch import nn

import captum_cams as cc
from tests.support.networks import NETWORKS, images
from tests.support.refusals import said
from tests.support.untouched import same, state

pytestmark = pytest.mark.filterwarnings("ignore")  # Captum's own
WINDOWS = {"sliding_window_shapes": (3, 24, 24), "strides": (3, 20, 20)}
PIXELS = {
    "saliency": (attr.Saliency, {}),
    "signed saliency": (attr.Saliency, {"abs": False}),
    "integrated gradients": (attr.IntegratedGradients, {"n_steps": 4}),
    "occlusion": (attr.Occlusion, WINDOWS),
    "guided backprop": (attr.GuidedBackprop, {}),
    "deconvolution": (attr.Deconvolution, {}),
    "deep lift": (attr.DeepLift, {}),
    "lrp": (attr.LRP, {}),
}
X = images(2)
LOGIT = nn.Sequential(nn.Flatten(), nn.Linear(X[0].numel(), 1)).eval()


@pytest.fixture
def model():
    return NETWORKS["plain"]()


@pytest.mark.parametrize("name", PIXELS)
def test_it_is_captums_map_with_its_channels_reduced(model, name):
    make, options = PIXELS[name]
    before, places = state(model), [p.data_ptr() for p in model.parameters()]
    maps = cc.CaptumMaps(make(model), options=options).attribute(X, [1, 2])
    assert same(before, state(model))
    assert places == [p.data_ptr() for p in model.parameters()]
    theirs = make(NETWORKS["plain"]()).attribute(X.clone().requires_grad_(), target=[1, 2], **options)
    torch.testing.assert_close(maps, theirs.detach().abs().sum(1, keepdim=True))


def test_each_reduction_is_its_plain_loop(model):
    signed = attr.InputXGradient(model)
    values = signed.attribute(X.clone().requires_grad_(), target=1).detach()
    for reduction, at in (
        ("sum_of_absolutes", lambda column: sum(map(abs, column))),
        ("sum", sum),
        ("positive_sum", lambda column: max(0.0, sum(column))),
        ("largest_absolute", lambda column: max(map(abs, column))),
    ):
        maps = cc.CaptumMaps(signed, reduction=reduction).attribute(X, 1)
        for y, x in ((0, 0), (13, 31), (39, 7)):
            expected = at(values[1, :, y, x].tolist())
            assert float(maps[1, 0, y, x]) == pytest.approx(expected, rel=1e-4, abs=1e-9), reduction


def test_a_layers_map_keeps_its_sign_and_size(model):
    theirs = attr.LayerGradCam(model, model.features[5])
    maps = cc.CaptumMaps(theirs).attribute(X, 1)
    torch.testing.assert_close(maps, theirs.attribute(X, 1).detach())
    torch.testing.assert_close(maps.relu(), cc.GradCAM(model, "features.5").attribute(X, 1))
    assert (maps < 0).any()


def test_noise_is_the_same_in_each_call_and_no_random_state_moves(model):
    explainer = cc.CaptumMaps(attr.GradientShap(model), options={"baselines": torch.zeros(2, *X.shape[1:])}, seed=3)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    maps = explainer.attribute(X, 1)
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])
    assert states[2] == random.getstate()
    np.random.seed(5)
    assert torch.equal(maps, explainer.attribute(X, 1))
    explainer.seed = 4
    assert not torch.equal(maps, explainer.attribute(X, 1))


def test_what_it_is_can_be_read_and_compared(model):
    noisy = attr.NoiseTunnel(attr.IntegratedGradients(model, multiply_by_inputs=False))
    explainer = cc.CaptumMaps(noisy, options={"baselines": X}, reduction="sum")
    found = explainer.hyperparameters
    assert found["attribution"]["attribution_method"]["class"].endswith("IntegratedGradients")
    assert found["attribution"]["attribution_method"]["multiplies_by_inputs"] is False
    assert found["options"]["baselines"].startswith("torch.float32 2×3×40×40 ")
    assert found != cc.CaptumMaps(noisy, options={"baselines": X + 1}, reduction="sum").hyperparameters
    layered = cc.CaptumMaps(attr.LayerGradCam(model, model.features[5])).hyperparameters
    assert layered["attribution"]["layer"] == "features.5"


class Last(nn.Module):
    """Two stages whose outputs are N×h×w×K and N×T×K."""

    def __init__(self):
        super().__init__()
        self.patches, self.last, self.flat, self.head = (
            nn.Conv2d(3, 6, 8, 8),
            nn.Linear(6, 9),
            nn.Identity(),
            nn.Linear(9, 3),
        )

    def forward(self, x):
        placed = self.last(self.patches(x).permute(0, 2, 3, 1))
        return self.head(self.flat(placed.flatten(1, 2)).mean(1))


REFUSED = {
    "a class": (lambda m: cc.CaptumMaps(attr.Saliency), "Saliency(model), got the class Saliency"),
    "no window": (lambda m: cc.CaptumMaps(attr.Occlusion(m)), 'options={"sliding_window_shapes": …}'),
    "no baselines": (lambda m: cc.CaptumMaps(attr.GradientShap(m)), "needs the option baselines"),
    "a misspelt option": (lambda m: cc.CaptumMaps(attr.Saliency(m), options={"abss": 1}), 'did you mean "abs"'),
    "the target": (lambda m: cc.CaptumMaps(attr.Saliency(m), options={"target": 1}), 'no option "target"'),
    "a neuron": (lambda m: cc.CaptumMaps(attr.NeuronGradient(m, m.features[0])), "neuron_selector"),
    "deltas": (
        lambda m: cc.CaptumMaps(attr.IntegratedGradients(m), options={"return_convergence_delta": True}),
        "leave out return_convergence_delta",
    ),
    "a reduction": (lambda m: cc.CaptumMaps(attr.Saliency(m), reduction="mean"), "'sum_of_absolutes'"),
    "a binary task": (
        lambda m: cc.CaptumMaps(attr.Saliency(LOGIT), task="binary").attribute(X, 1),
        "output of the model",
    ),
    "a function": (lambda m: cc.CaptumMaps(attr.Saliency(m)).attribute(X, lambda out: out[:, 1]), "index of a class"),
    "a wrong class": (lambda m: cc.CaptumMaps(attr.Saliency(m)).attribute(X, 1000), "1000"),
    "a vector": (
        lambda m: cc.CaptumMaps(attr.LayerGradientXActivation(m, m.classifier)).attribute(X, 1),
        "FunctionMaps",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_gives_no_map_is_refused(model, name):
    action, words = REFUSED[name]
    assert words in said(lambda: action(model))


@pytest.mark.parametrize("make", [attr.LayerGradCam, attr.LayerGradientXActivation])
@pytest.mark.parametrize("layer", ["last", "flat"])
def test_a_layer_without_channels_first_is_refused(make, layer):
    last = Last().eval()
    explainer = cc.CaptumMaps(make(last, last.get_submodule(layer)))
    assert "choose a layer with" in said(explainer.attribute, X, 1)


class ChannelsLast(nn.Module):
    """A network that takes images N×H×W×C."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x.movedim(-1, 1))


def test_images_with_channels_last_have_the_same_maps(model):
    last = ChannelsLast(model)
    layer = next(one for one in model.modules() if isinstance(one, nn.Conv2d))
    for make in (attr.Saliency, lambda network: attr.LayerGradCam(network, layer)):
        maps = cc.CaptumMaps(make(last)).attribute(X.movedim(1, -1).contiguous(), [1, 2])
        torch.testing.assert_close(maps, cc.CaptumMaps(make(model)).attribute(X, [1, 2]))


def test_random_numbers_do_not_depend_on_the_rest_of_the_batch(model):
    for attribution, options in (
        (attr.GradientShap(model), {"baselines": torch.zeros(1, *X.shape[1:])}),
        (attr.NoiseTunnel(attr.Saliency(model)), {"nt_samples": 2}),
    ):
        explainer = cc.CaptumMaps(attribution, options=options)
        alone = [explainer.attribute(image, index) for image, index in zip(X.split(1), (1, 2), strict=True)]
        torch.testing.assert_close(explainer.attribute(X, [1, 2]), torch.cat(alone))
