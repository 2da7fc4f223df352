"""Maps with a graph on transformers, for targets that are functions, and what refuses them."""

import threading
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

import captum_cams as cc
from tests.support.networks import TinyRes, images, seeded
from tests.support.plain_maps import gradients, plain_maps
from tests.support.untouched import same, state


class Block(nn.Module):
    """A block of a transformer whose attention is torch's fused kernel."""

    def __init__(self, width):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        return x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class TinyViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 16, 8, 8), nn.Parameter(torch.randn(1, 1, 16))
        self.blocks, self.drop, self.head = nn.Sequential(Block(16), Block(16)), nn.Dropout(), nn.Linear(16, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).mT
        return self.head(self.drop(self.blocks(torch.cat((self.token.expand(len(x), -1, -1), x), 1))[:, 0]))


@pytest.mark.parametrize("layer", ["blocks.1.norm", None])
def test_tokens_keep_the_graph(layer):
    model, x, target = seeded(TinyViT).double(), images(2).double().requires_grad_(), [3, 7]
    kept = []
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no second derivative
        handle = model.blocks[1].norm.register_forward_hook(lambda module, args, output: kept.append(output))
        score = model(x)[range(2), target].sum()
        handle.remove()
        (g,) = torch.autograd.grad(score, kept[0], create_graph=True)
        a, g = (values[:, 1:].mT.unflatten(2, (5, 5)) for values in (kept[0], g))
        expected = (g.mean((2, 3), keepdim=True) * a).sum(1).relu()
        wanted = gradients(expected.square().sum(), model, x)
    maps = cc.GradCAM(model.train(), layer).attribute(x, target, differentiable=True)
    torch.testing.assert_close(maps[:, 0].detach(), expected.detach())
    assert torch.backends.cuda.flash_sdp_enabled()
    for found, grad in zip(gradients(maps.square().sum(), model, x), wanted, strict=True):
        torch.testing.assert_close(found, grad)


def test_the_kernels_of_attention_are_restored_when_the_last_thread_leaves():
    inside, left = threading.Barrier(2), threading.Barrier(2)

    class Waiting(TinyRes):
        def forward(self, x):
            inside.wait(20)
            (left.wait if self.last else id)(20)
            return super().forward(x)

    def explain(last):
        model = seeded(Waiting)
        model.last = last
        cc.GradCAM(model, "layer3").attribute(images(1), 1, differentiable=True)
        if not last:
            left.wait(20)

    threads = [threading.Thread(target=explain, args=(last,)) for last in (False, True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.backends.cuda.flash_sdp_enabled()


@pytest.mark.parametrize(
    "target",
    [
        lambda output: output[:, 3] - output[:, 5],
        [lambda output: output[:, 3] - output[:, 5]] * 2,
        cc.targets.Contrast(3, against=[5]),
    ],
    ids=["function", "list", "contrast"],
)
def test_targets_that_are_functions_keep_the_graph(target):
    model, x = seeded(TinyRes).double(), images(2).double().requires_grad_()
    maps = cc.HiResCAM(model, "layer3").attribute(x, target, relu_attributions=False, differentiable=True)[:, 0]
    # The map of a difference is the difference of the maps.
    expected = plain_maps("hirescam", model, "layer3", x, [3, 3]) - plain_maps("hirescam", model, "layer3", x, [5, 5])
    torch.testing.assert_close(maps.detach(), expected.detach())
    wanted = gradients(expected.square().sum(), model, x)
    for found, grad in zip(gradients(maps.square().sum(), model, x), wanted, strict=True):
        torch.testing.assert_close(found, grad)


class Scaled(TinyRes):
    def forward(self, x, scale):
        return super().forward(x) * scale


def test_further_arguments_keep_their_graph():
    model, x = seeded(Scaled).double(), images(2).double()
    scale = torch.tensor([[2.0], [3.0]], dtype=torch.float64, requires_grad=True)
    maps = cc.HiResCAM(model, "layer3").attribute(x, 4, scale, differentiable=True)
    (grad,) = torch.autograd.grad(maps.sum(), scale)
    torch.testing.assert_close(grad, (maps.sum((1, 2, 3)) / scale[:, 0]).detach()[:, None])  # the map is linear in it


def test_under_autocast_the_gradient_is_about_that_of_full_precision():
    model, x = seeded(TinyRes), images(2)
    cam = cc.GradCAM(model, "layer3")
    wanted = gradients(cam.attribute(x, 1, differentiable=True).square().mean(), model, x)
    with torch.autocast("cpu", torch.bfloat16):
        maps = cam.attribute(x, 1, differentiable=True)
    found = gradients(maps.square().mean(), model, x)
    assert maps.dtype == torch.float32
    cosine = F.cosine_similarity(*(torch.cat([grad.flatten() for grad in grads]) for grads in (found, wanted)), 0)
    assert cosine > 0.99


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_where_no_gradients_are_recorded_there_is_no_graph(mode):
    model = seeded(TinyRes)
    with mode(), pytest.raises(cc.CAMError, match=f"inside {mode.__name__}.*training step"):
        cc.GradCAM(model, "layer3").attribute(images(1), 1, differentiable=True)
    with mode():
        data = images(1)
    assert cc.GradCAM(model, "layer3").attribute(data, 1, differentiable=True).requires_grad


@pytest.mark.parametrize("name", ["fdcam", "scorecam", "lrp", "jittercam(gradcam)", "random"])
def test_other_methods_say_which_can(name):
    model = seeded(TinyRes)
    with pytest.raises(cc.CAMError, match=r"such methods are cam, .*gradcam, .*layercam"):
        cc.create(name, model).attribute(images(1), 1, differentiable=True)


@pytest.mark.parametrize("as_function", [False, True])
def test_a_frozen_model_has_no_graph(as_function):
    model, x = seeded(TinyRes).requires_grad_(False), images(1)
    cam = cc.EigenCAM((lambda x: model(x)) if as_function else model, model.layer3)
    with pytest.raises(cc.CAMError, match="requires a gradient, got none"):
        cam.attribute(x, differentiable=True)
    assert cam.attribute(x.requires_grad_(), differentiable=True).requires_grad


class Checkpointed(TinyRes):
    """Recomputes a stage before or behind the explained layer in the backward pass."""

    def __init__(self, stage, reentrant):
        super().__init__()
        stage = getattr(self, stage)
        stage.forward = partial(checkpoint, stage.forward, use_reentrant=reentrant)


@pytest.mark.parametrize("name", ["gradcam", "eigencam"])
@pytest.mark.parametrize("stage", ["layer2", "layer4"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_is_refused(reentrant, stage, name):
    model, x = seeded(lambda: Checkpointed(stage, reentrant)).train(), images(1)
    before = state(model)
    kept = reentrant and (name, stage) == ("eigencam", "layer4")  # the map does not go through it
    if kept:
        cc.create(name, model, "layer3").attribute(x, 1, differentiable=True)
    else:
        with pytest.raises(cc.CAMError, match="checkpointing"):
            cc.create(name, model, "layer3").attribute(x, 1, differentiable=True)
    assert same(before, state(model))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")
def test_scripted_statistics_are_refused():
    model = nn.Sequential(
        torch.jit.script(nn.BatchNorm2d(3)), nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    with pytest.raises(cc.CAMError, match="explain the eager network"):
        cc.GradCAM(model, "1").attribute(images(1), 1, differentiable=True)


def test_a_model_in_data_parallel_or_compiled_is_explained_inside():
    model, x = seeded(TinyRes).double(), images(2).double()
    wanted = gradients(cc.GradCAM(model, "layer3").attribute(x, 1, differentiable=True).sum(), model, x)
    for wrapped in (nn.DataParallel(model), torch.compile(model, backend="eager")):
        found = gradients(cc.GradCAM(wrapped, model.layer3).attribute(x, 1, differentiable=True).sum(), model, x)
        assert all(map(torch.equal, found, wanted))
