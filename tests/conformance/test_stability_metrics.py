"""Sensitivity and infidelity beside Captum's own numbers, the sanity checks beside those of Quantus."""

from functools import partial

import captum.metrics
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import captum_cams as cc
from captum_cams import metrics
from captum_cams.engine.generators import generator_of
from tests.support.networks import NETWORKS, SIDE, images

LABELS = [1, 3, 8]


@pytest.fixture(scope="module")
def model():
    return NETWORKS["plain"]()


def plus(noise):
    return lambda image: image + noise


@pytest.mark.parametrize("per_eval", [1, 7, 100])
def test_sensitivity_is_captums(model, per_eval):
    x, cam = images(3) * torch.tensor([1.0, 5.0, 0.2]).view(3, 1, 1, 1), cc.HiResCAM(model)
    maps = cam.attribute(x, LABELS)
    noise = torch.stack([torch.rand(3, SIDE, SIDE, generator=generator_of(4, number)) for number in range(5)])
    found = metrics.sensitivity(
        x, maps, cam.attribute, LABELS, radius=0.1, samples=5, seed=4, perturbations_per_eval=per_eval
    )

    def as_tuple(inputs, target):  # Captum takes the rows of a tensor for several explanations
        return (cam.attribute(inputs, target),)

    for i, index in enumerate(LABELS):
        added = 0.1 * (x[i].max() - x[i].min()) * (2 * noise - 1)
        given = {"perturb_func": plus(added), "n_perturb_samples": 5, "target": index}
        theirs = captum.metrics.sensitivity_max(as_tuple, x[i : i + 1], **given)
        torch.testing.assert_close(found[i : i + 1], theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("preset", ["quick", "fgcam"])
def test_infidelity_is_captums(model, preset):
    x, cam = images(3), cc.HiResCAM(model)
    maps, samples = cam.attribute(x, LABELS), 6
    boxes = torch.zeros(samples, 1, SIDE, SIDE)
    for number in range(samples):
        share, down, right = torch.rand(3, generator=generator_of(2, number), dtype=torch.float64).tolist()
        side = round((1 / 8 + share * 3 / 8) * SIDE)
        top, left = int(down * (SIDE - side + 1)), int(right * (SIDE - side + 1))
        boxes[number, 0, top : top + side, left : left + side] = 1

    def changed(image):
        inside = boxes.repeat(len(image) // samples, 3, 1, 1)
        return inside, image * (1 - inside) + inside * metrics.PRESETS[preset].deleted(image)

    upsampled = F.interpolate(maps, (SIDE, SIDE), mode="bilinear").expand(-1, 3, -1, -1) / 3
    theirs = captum.metrics.infidelity(
        model, changed, x, upsampled, target=LABELS, n_perturb_samples=samples, normalize=True
    )
    for per_eval in (1, 4, 50):
        found = metrics.infidelity(
            model, x, maps, LABELS, preset=preset, samples=samples, seed=2, perturbations_per_eval=per_eval
        )
        torch.testing.assert_close(found, theirs.detach(), rtol=1e-3, atol=1e-6)


class FixedConvolution(nn.Conv2d):
    """A convolution whose new weights do not depend on random numbers, so that two libraries give it the same ones."""

    def reset_parameters(self):
        count = self.weight.numel()
        with torch.no_grad():
            self.weight.copy_(torch.arange(count).mul(7.3).sin().view_as(self.weight) / count**0.5)
            self.bias.copy_(torch.arange(len(self.bias)).mul(1.7).cos() / 10)


class FixedLinear(nn.Linear):
    """A linear layer like :class:`FixedConvolution`."""

    reset_parameters = FixedConvolution.reset_parameters


class Trained(nn.Module):
    """A network with maps of the size of the image, as Quantus wants them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = FixedConvolution(3, 6, 3, 1, 1), FixedConvolution(6, 5, 3, 1, 1)
        self.fc1, self.fc2 = FixedLinear(5, 7), FixedLinear(7, 4)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            parameter.data += torch.randn(parameter.shape, generator=generator) / 3

    def forward(self, x):
        x = torch.tanh(self.conv2(torch.tanh(self.conv1(x)))).mean((2, 3))
        return self.fc2(torch.tanh(self.fc1(x)))


@pytest.fixture(scope="module")
def quantus():
    return pytest.importorskip("quantus", reason="pip install --no-deps quantus")


def explained(model, inputs, targets, **_):
    return cc.EigenGradCAM(model, "conv2").attribute(torch.as_tensor(inputs), [*map(int, targets)]).numpy()


def of_quantus(metric, model, x, classes, maps):
    from quantus.functions.similarity_func import correlation_spearman

    test = metric(similarity_func=correlation_spearman, abs=False, normalise=False, disable_warnings=True)
    given = {"x_batch": x.numpy(), "y_batch": torch.tensor(classes).numpy(), "a_batch": maps.numpy()}
    return test(model=model, explain_func=explained, device="cpu", channel_first=True, **given)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("order", "theirs"), [("cascading", "top_down"), ("independent", "independent")])
def test_randomisation_is_that_of_quantus(quantus, order, theirs):
    model, x, classes = Trained().eval(), images(3)[..., :16, :16].contiguous(), [0, 3, 1]
    cam = cc.EigenGradCAM(model, "conv2")
    maps = cam.attribute(x, classes)
    names, found = metrics.randomisation_curve(model, x, maps, classes, explain=cam.attribute, order=order)
    scores = of_quantus(partial(quantus.MPRT, layer_order=theirs), model, x, classes, maps)
    assert names == ["fc2", "fc1", "conv2", "conv1"]
    expected = torch.tensor([scores[name] for name in names]).T.float()
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    if order == "cascading":  # a quarter of four layers is one
        mean = metrics.randomisation(model, x, maps, classes, explain=cam.attribute)
        torch.testing.assert_close(mean, expected[:, [0, 1, 3]].mean(1), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_random_logit_is_that_of_quantus(quantus):
    model, x, classes = Trained().eval(), images(3)[..., :16, :16].contiguous(), [0, 1, 1]
    model.fc2 = nn.Linear(7, 2)  # with two classes, both libraries take the other one
    cam = cc.EigenGradCAM(model, "conv2")
    maps = cam.attribute(x, classes)
    found = metrics.random_logit(model, x, maps, classes, explain=cam.attribute)
    expected = of_quantus(partial(quantus.RandomLogit, num_classes=2), model, x, classes, maps)
    torch.testing.assert_close(found, torch.tensor(expected).float(), rtol=1e-4, atol=1e-5)
