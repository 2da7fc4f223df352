"""Concepts against planted ones, plain loops and runs of the whole network."""

import numpy as np
import pytest
import torch
from torch import nn

import captum_cams as cc
from tests.support.concepts import Around, Dense, Tokens, planted
from tests.support.networks import NETWORKS, images, seeded
from tests.support.untouched import same, state

LAYERS = {"plain": "features.10", "batch norm": "features.14", "residual": "layer4", "in-place ReLU": "add"}


def activation_of(model: nn.Module, layer: str, x: torch.Tensor) -> torch.Tensor:
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda *args: kept.append(args[2].detach().clone()))
    model(x)
    handle.remove()
    return kept[0]


@torch.no_grad()
def scores_of(model: nn.Module, layer: str, x: torch.Tensor, activation: torch.Tensor) -> torch.Tensor:
    """A full run of the model in which the layer gives another activation."""
    handle = model.get_submodule(layer).register_forward_hook(lambda *args: activation)
    scores = model(x)
    handle.remove()
    return scores


def test_planted_concepts_are_found_with_their_scale_and_order():
    model, x, maps, directions = planted()
    found = cc.find_concepts(model, x, "0", count=3)
    torch.testing.assert_close(found.maps, maps, rtol=0, atol=5e-3)
    torch.testing.assert_close(found.directions, directions, rtol=0, atol=2e-2)
    sums = torch.stack([(maps[:, k, None] * directions[k, :, None, None]).sum() for k in range(3)])
    torch.testing.assert_close(found.shares, sums / x.sum(), rtol=0, atol=5e-3)
    assert found.error < 5e-3


@pytest.mark.parametrize("net", LAYERS)
def test_the_parts_of_the_record_belong_together(net):
    model, x = NETWORKS[net](), images(3)
    found = cc.find_concepts(model, x, LAYERS[net], count=4)
    activation = activation_of(model, LAYERS[net], x)
    assert found.maps.shape == (3, 4, *activation.shape[2:])
    assert min(found.maps.min(), found.directions.min()) >= 0
    approximation, sums = torch.zeros_like(activation), []
    for k in range(4):
        assert found.maps[:, k].max() == 1
        one = torch.stack([found.directions[k, c] * found.maps[:, k] for c in range(activation.shape[1])], 1)
        approximation += one
        sums.append(float(one.sum()))
    assert sums == sorted(sums, reverse=True)
    np.testing.assert_allclose(found.shares.numpy(), np.array(sums) / sum(sums), rtol=1e-4)
    distance = float((activation - approximation).norm() / activation.norm())
    assert found.error == pytest.approx(distance, rel=1e-3)
    for k in range(4):
        full = found.directions[k][None, :, None, None].expand(activation.shape)
        expected = scores_of(model, LAYERS[net], x, full)
        for sample in range(3):
            torch.testing.assert_close(found.scores[k], expected[sample], rtol=1e-4, atol=1e-4)


def test_behind_average_pooling_the_scores_are_the_classifier_on_the_direction():
    model = NETWORKS["residual"]()
    found = cc.find_concepts(model, images(2), "layer4", count=3)
    expected = found.directions @ model.fc.weight.detach().T + model.fc.bias.detach()
    torch.testing.assert_close(found.scores, expected, rtol=1e-4, atol=1e-5)


def test_the_seed_alone_decides_and_nothing_is_left_behind():
    model, x = NETWORKS["residual"]().train(), images(2)
    model.fc.eval()
    before, numbers = state(model), np.random.get_state()[1].copy()
    one, again = (cc.find_concepts(model, x, "layer4", count=3, seed=4) for _ in range(2))
    other = cc.find_concepts(model, x, "layer4", count=3, seed=5)
    assert torch.equal(one.maps, again.maps)
    assert not torch.equal(one.maps, other.maps)
    with pytest.raises(cc.CAMError, match="0 or greater"):
        cc.find_concepts(model, x, "layer4.0.conv2")
    assert same(before, state(model))
    assert np.array_equal(numbers, np.random.get_state()[1])
    assert not any(tensor.requires_grad for tensor in (one.maps, one.directions, one.scores, one.shares))


@pytest.mark.parametrize("power", [-60, 60])
def test_the_size_of_the_activations_does_not_matter(power):
    model, x, maps, directions = planted()
    found = cc.find_concepts(model, x * 2.0**power, "0", count=3)
    torch.testing.assert_close(found.maps, maps, rtol=0, atol=5e-3)
    torch.testing.assert_close(found.directions * 2.0**-power, directions, rtol=0, atol=2e-2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_float_types(dtype):
    model, x, maps, _ = planted()
    found = cc.find_concepts(model.to(dtype), x.to(dtype), "0", count=3)
    torch.testing.assert_close(found.maps.float(), maps, rtol=0, atol=2e-2)
    assert found.maps.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_volumes_have_concepts_as_well():
    _, x, maps, _ = planted()
    model = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 5)).eval()
    found = cc.find_concepts(model, x[:, :, None].expand(-1, -1, 2, -1, -1), "0", count=3)
    torch.testing.assert_close(found.maps, maps[:, :, None].expand(-1, -1, 2, -1, -1), rtol=0, atol=5e-3)


@pytest.mark.parametrize("x", [images(3), images(1), images(1).expand(2, -1, -1, -1)], ids=["three", "one", "equal"])
def test_scores_that_depend_on_the_image_are_refused(x):
    with pytest.raises(cc.CAMError, match=r"something goes around layer relu \(ReLU\)"):
        cc.find_concepts(seeded(Around), x, "relu")


def test_tokens_are_served_unless_the_scores_read_a_class_token():
    found = cc.find_concepts(seeded(lambda: Tokens(False)), images(3), "relu", count=2)
    assert found.maps.shape == (3, 2, 5, 5)
    with pytest.raises(cc.CAMError, match="a class token"):
        cc.find_concepts(seeded(lambda: Tokens(True)), images(3), "relu", count=2)


def test_dense_scores_need_a_function():
    with pytest.raises(cc.CAMError, match=r"must be N×classes, got 2×4×38×38; pass task="):
        cc.find_concepts(seeded(Dense), images(2), "relu", count=2)
    found = cc.find_concepts(seeded(Dense), images(2), "relu", count=2, task=lambda output: output.mean((2, 3)))
    assert found.scores.shape == (2, 4)


def test_inference_mode_and_autocast_of_the_caller():
    model, x = NETWORKS["plain"](), images(2)
    expected = cc.find_concepts(model, x, "features.10", count=2)
    with torch.inference_mode():
        found = cc.find_concepts(model, x, "features.10", count=2)
    assert torch.equal(found.maps, expected.maps)
    with torch.autocast("cpu", torch.bfloat16):
        found = cc.find_concepts(model, x, "features.10", count=2)
    torch.testing.assert_close(found.maps, expected.maps, rtol=0, atol=0.05)
    torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=0.03 * float(expected.scores.abs().max()))
