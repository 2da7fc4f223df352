"""Functions of the user as explainers: what they get, what they may return, and a model that stays as it was."""

import random

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from torch import nn

import captum_cams as cc
from tests.support.networks import NETWORKS, images
from tests.support.refusals import said
from tests.support.untouched import same, state

X = images(2)


def gradient(model, images, target):
    images.requires_grad_()
    model(images).gather(1, target[:, None]).sum().backward()
    return images.grad.abs().amax(1)


@pytest.fixture
def model():
    return NETWORKS["batch norm"]()


def test_a_function_may_use_gradients_and_gets_the_classes(model):
    theirs = Saliency(model).attribute(X.clone().requires_grad_(), target=[3, 1]).amax(1, keepdim=True)
    explainer = cc.FunctionMaps(model, function=gradient)
    for target in ([3, 1], torch.tensor([3, 1])):
        with torch.no_grad():
            torch.testing.assert_close(explainer.attribute(X, target), theirs)
    best = model(X).argmax(1)
    torch.testing.assert_close(explainer.attribute(X), explainer.attribute(X, best))


def test_whatever_the_function_does_is_undone(model):
    convolution, norm = model.features[0], model.features[1]
    convolution.weight.grad = torch.ones_like(convolution.weight)
    convolution.bias.requires_grad_(False)

    def destructive(network, images, target):
        network.train()
        network(images).sum().backward()
        network.features[0].weight.data = torch.zeros(1)
        with torch.no_grad():
            network.features[1].weight.zero_()
        network.features[0].bias.requires_grad_(True)
        network.features[1].extra = 3
        network.features[2] = nn.Identity()
        network.features[3].register_forward_hook(lambda *_: None)
        network.features[1].momentum = 0.5
        torch.rand(1), np.random.rand(), random.random()
        raise RuntimeError("on its way")

    before, grad, place = state(model), convolution.weight.grad, convolution.weight.data_ptr()
    numbers = np.random.get_state()[1].copy(), random.getstate()
    with pytest.raises(RuntimeError, match="on its way"):
        cc.FunctionMaps(model, function=destructive).attribute(X, 1)
    assert same(before, state(model))
    assert convolution.weight.grad is grad
    assert bool((grad == 1).all())
    assert convolution.weight.data_ptr() == place
    assert norm.momentum == 0.1
    assert np.array_equal(numbers[0], np.random.get_state()[1])
    assert numbers[1] == random.getstate()


@pytest.mark.parametrize(
    "form",
    [
        lambda maps: maps,
        lambda maps: maps[:, None],
        lambda maps: maps.numpy(),
        lambda maps: maps.double(),
        lambda maps: (100 * maps).int(),
        lambda maps: maps > 0.5,
        lambda maps: maps[:, ::8, ::8],
    ],
    ids=["plain", "channel", "numpy", "double", "integers", "booleans", "small"],
)
def test_forms_of_maps(model, form):
    given = X.mean(1)
    maps = cc.FunctionMaps(model, function=lambda *_: form(given)).attribute(X, 1)
    expected = torch.as_tensor(form(given))
    assert maps.ndim == 4
    assert maps.is_floating_point()
    assert torch.equal(maps[:, 0], expected.reshape(maps[:, 0].shape).to(maps.dtype))


WRONG = {
    "nothing": (lambda: None, "a tensor N×1×h×w, got NoneType"),
    "channels": (lambda: X, "maps.abs().sum(1, keepdim=True)"),
    "a vector": (lambda: X.mean((1, 2, 3)), "must be real numbers N×1×h×w, got 2 "),
    "one image": (lambda: X[:1].mean(1), "for each of 2 images, got 1×1×40×40"),
    "nan": (lambda: X.mean(1) * torch.nan, "must be finite, got NaN in samples 0, 1"),
    "no positions": (lambda: X.mean(1)[:, :0], "must be real numbers"),
    "complex numbers": (lambda: X.mean(1) * 1j, "must be real numbers"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_map_is_refused(model, name):
    returned, words = WRONG[name]
    assert words in said(cc.FunctionMaps(model, function=lambda *_: returned()).attribute, X, 1)


def test_the_class_of_a_single_logit_reaches_the_function():
    model = nn.Sequential(nn.Flatten(), nn.Linear(X[0].numel(), 1)).eval()
    seen = []

    def recorded(network, images, target):
        seen.append((network, target.tolist()))
        return images.mean(1)

    cc.FunctionMaps(model, function=recorded, task="binary").attribute(X, [0, 1])
    assert seen == [(model, [0, 1])]


def test_further_inputs_and_other_than_functions_are_refused(model):
    explainer = cc.FunctionMaps(model, function=gradient)
    assert "images alone" in said(explainer.attribute, (X, X), 1)
    assert "(model, images, target) -> maps, got 3" in said(lambda: cc.FunctionMaps(model, function=3))
    assert "seed" in said(lambda: cc.FunctionMaps(model, function=gradient, seed=-1))


@pytest.mark.parametrize("draw", [torch.rand, lambda *size: np.random.rand(*size), lambda *_: random.random()])
def test_a_map_with_random_numbers_does_not_depend_on_the_batch(model, draw):
    sizes = []

    def noisy(network, images, target):
        sizes.append(len(images))
        network.features[0].weight.data.mul_(2)
        images.mul_(2)
        return images.mean(1) + torch.as_tensor(draw(len(images), 1, 1)) * network.features[0].weight.abs().sum()

    explainer = cc.FunctionMaps(model, function=noisy, seed=3)
    together = explainer.attribute(images(3), [1, 2, 3])
    assert sizes == [3, 1, 1, 1]
    alone = [explainer.attribute(images(3)[i : i + 1], i + 1) for i in range(3)]
    assert torch.equal(together, torch.cat(alone))
    assert torch.equal(together, explainer.attribute(images(3), [1, 2, 3]))
    other = cc.FunctionMaps(model, function=noisy, seed=4)
    assert not torch.equal(other.attribute(X, 1), explainer.attribute(X, 1))
    sizes.clear()
    cc.FunctionMaps(model, function=lambda *given: sizes.append(len(given[1])) or given[1].mean(1)).attribute(X, 1)
    assert sizes == [2]
