"""What holds for every method of tokens on every way of writing attention; a new one is tested without an edit here."""

import threading
from typing import ClassVar

import pytest
import torch
from torch import nn

import captum_cams as cc
from tests.support.explainers import OF_TOKENS, explainer
from tests.support.networks import NETWORKS, SIDE, images
from tests.support.untouched import leaks, same, state
from tests.support.vit import LAYER, PATCHES, WAYS, small_vit

MODES = {"grad": torch.enable_grad, "no_grad": torch.no_grad, "inference_mode": torch.inference_mode}
PAIRS = [(name, way) for name in OF_TOKENS for way in WAYS]
# The mode is a matter of the guard around every method: each method meets all of them, in turn.
IN_TURN = [(name, way, list(MODES)[(place + place // 3) % 3]) for place, (name, way) in enumerate(PAIRS)]


def rounding(cam: cc.CAMAttribution, maps: torch.Tensor) -> float:
    # Recipro-CAM is scaled to the spread of scores that differ little.
    return 1e-4 if isinstance(cam, cc.ViTReciproCAM) else 1e-5 * float(maps.abs().max())


def of_tokens(name, model, layer=LAYER, token=True):
    return explainer(name, model, layer, reshape=cc.tokens(int(token)))


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize(("name", "way"), PAIRS)
def test_shape_dtype_and_batch_equal_to_singles(name, way, token):
    model, x, target = small_vit(way, token), images(3), [0, 4, 9]
    cam = of_tokens(name, model, token=token)
    maps = cam.attribute(x, target)
    assert maps.shape == (3, 1, PATCHES, PATCHES)
    assert maps.dtype == torch.float32
    assert maps.is_contiguous()
    assert not maps.requires_grad
    assert bool((maps.flatten(1).std(1) > 0).all())
    for n in range(3):
        single = cam.attribute(x[n : n + 1], target[n])
        torch.testing.assert_close(maps[n : n + 1], single, rtol=0, atol=rounding(cam, maps))
    heat = cam.heatmap(x, target)
    assert heat.shape == (3, SIDE, SIDE)
    assert (heat.min(), heat.max()) == (0, 1)
    double = of_tokens(name, model.double(), token=token).attribute(x.double(), target)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), maps, rtol=0, atol=10 * rounding(cam, maps))


@pytest.mark.parametrize(("name", "way", "mode"), IN_TURN)
def test_everything_is_left_as_it_was(name, way, mode):
    model, x = small_vit(way), images(2)
    model.train()
    model.blocks[0].eval()
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    next(model.parameters()).requires_grad_(False)
    with MODES[mode]():
        given_x = x.clone()
        before = state(model)
        maps = of_tokens(name, model).attribute(given_x)
        assert same(before, state(model))
        assert torch.equal(given_x, x)
    assert torch.equal(maps, of_tokens(name, model.eval()).attribute(x))


@pytest.mark.parametrize("name", OF_TOKENS)
def test_an_exception_leaves_everything_as_it_was(name):
    model, x = small_vit("fused").train(), images(2)
    cam = of_tokens(name, model)

    def fail(module, args):
        raise RuntimeError("from inside the model")

    handle = model.fc.register_forward_pre_hook(fail)
    before = state(model)
    with pytest.raises(RuntimeError, match="from inside the model"):
        cam.attribute(x)
    assert same(before, state(model))
    handle.remove()


@pytest.mark.parametrize("name", OF_TOKENS)
def test_a_plain_function_is_explained_too(name):
    model, x = small_vit("fused"), images(2)
    expected = of_tokens(name, model).attribute(x)
    cam = of_tokens(name, lambda inputs: model(inputs), model.blocks[2].norm1)
    assert torch.equal(cam.attribute(x), expected)


@pytest.mark.parametrize("name", OF_TOKENS)
def test_frozen_weights_change_nothing(name):
    model, x = small_vit("fused"), images(2)
    expected = of_tokens(name, model).attribute(x, 1)
    assert torch.equal(of_tokens(name, model.requires_grad_(False)).attribute(x, 1), expected)


@pytest.mark.parametrize("name", OF_TOKENS)
def test_twenty_calls_leave_nothing_behind(name):
    cam, x = of_tokens(name, small_vit()), images(1)
    assert not leaks(lambda: cam.attribute(x, 1))


# ViT-Recipro-CAM divides by the spread of scores, which here is a few times the rounding of half precision.
@pytest.mark.parametrize("name", [name for name in OF_TOKENS if name != "vitreciprocam"])
def test_half_precision_and_autocast_give_the_float_map(name):
    model, x = small_vit("fused"), images(2)
    expected = of_tokens(name, model).attribute(x, 2)
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = of_tokens(name, model).attribute(x, 2)
    half = of_tokens(name, model.bfloat16()).attribute(x.bfloat16(), 2)
    for maps in (under_autocast, half):
        assert maps.dtype == torch.float32
        assert float((maps - expected).abs().max()) <= 0.2 * float(expected.abs().max())


@pytest.mark.parametrize("name", OF_TOKENS)
def test_another_thread_that_runs_the_model_sees_nothing(name):
    """Its gradients stay off, its output is that of fused attention, and none of its attention is recorded."""
    model, x = small_vit("fused"), images(2)
    expected = of_tokens(name, model).attribute(x, 1)
    with torch.no_grad():
        output = model(x)
    found, failed = [], threading.Event()

    def predict():
        with torch.no_grad():
            for _ in range(10):
                again = model(x)
                if again.requires_grad or not torch.equal(again, output):
                    failed.set()

    thread = threading.Thread(target=predict)
    thread.start()
    while thread.is_alive():
        found.append(of_tokens(name, model).attribute(x, 1))
    thread.join()
    assert not failed.is_set()
    assert all(torch.equal(maps, expected) for maps in found)


@pytest.mark.parametrize("name", OF_TOKENS)
def test_a_function_of_the_output_is_a_target(name):
    model, x = small_vit(), images(2)
    found = of_tokens(name, model).attribute(x, lambda output: output[:, 3])
    torch.testing.assert_close(found, of_tokens(name, model).attribute(x, 3))


@pytest.mark.parametrize("name", OF_TOKENS)
@pytest.mark.parametrize("net", NETWORKS)
def test_convolutional_networks_are_refused_and_left_as_they_were(name, net):
    model: nn.Module = NETWORKS[net]().train()
    before = state(model)
    with pytest.raises(cc.CAMError, match="for a convolutional network use Grad-CAM"):
        explainer(name, model).attribute(images(2))
    assert same(before, state(model))


class Counted(nn.Conv2d):
    """Counts the rows that enter the network; a replayed output does not count."""

    entered: ClassVar[list[int]] = []

    def forward(self, x):
        self.entered.append(len(x))
        return super().forward(x)


@pytest.mark.parametrize("name", OF_TOKENS)
def test_an_image_takes_as_many_runs_as_declared(name):
    model = small_vit("fused")
    first = Counted(3, 12, 8, 8)
    first.load_state_dict(model.patches.state_dict())
    model.patches = first
    first.entered.clear()
    left, backward = [], []

    def leave(module, args, output):
        left.append(len(output))
        with torch._C.DisableTorchFunction():
            if output.grad_fn is not None:
                output.grad_fn.register_hook(lambda *gradients: backward.append(1))

    model.fc.register_forward_hook(leave)
    cam = of_tokens(name, model)
    cam.attribute(images(1), 1)
    declared = cam.total_cost.at({"P": PATCHES**2, "L": len(model.blocks)})
    assert declared.whole == sum(first.entered)
    assert declared.behind == sum(left) - sum(first.entered)
    assert declared.gradients == len(backward)
