"""Channel masks through the shortcuts against one full run for every mask."""

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

import captum_cams as cc
from captum_cams.engine.call import Call
from captum_cams.engine.capture import Needs, capture
from captum_cams.engine.codes import separating_masks
from captum_cams.engine.layers import Place
from captum_cams.engine.resume import Pace
from captum_cams.engine.unique import unique_rows
from captum_cams.engine.untouched import untouched
from tests.support.memory import printed
from tests.support.photographs import PREPROCESS


def network(seed: int, channels: int, pooling: str, hidden: int, tail: str, scale: float) -> nn.Module:
    """A layer, then a tail of the wanted kind; a third of the channels is dead."""
    pool = {"average": nn.AdaptiveAvgPool2d(1), "max": nn.AdaptiveMaxPool2d(1), "grid": nn.AdaptiveAvgPool2d((2, 3))}
    head: list[nn.Module] = [nn.ReLU(), pool[pooling]]
    if tail == "convolution":
        head.insert(0, nn.Conv2d(channels, channels, 3, padding=1))
    if tail == "bias before pooling":
        head.insert(0, nn.BatchNorm2d(channels))
    width = channels * (6 if pooling == "grid" else 1)
    layers = [nn.Linear(width, 5)]
    if hidden:
        layers = [nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(hidden, 5)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(3, channels, 3), nn.ReLU(), *head, nn.Flatten(), *layers)
        for module in net.modules():
            if hasattr(module, "weight"):
                nn.init.normal_(module.weight, 0, scale)
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.bias, 0, scale)
        with torch.no_grad():
            net[0].weight[::3], net[0].bias[::3] = 0, -1
    return net.eval()


def loop(net: nn.Module, x: Tensor, masks: Tensor, c: int, score: str) -> Tensor:
    """One full run for every mask, by a hook that multiplies."""
    scores = []
    for mask in masks:
        hook = net[1].register_forward_hook(lambda m, a, out, mask=mask: out * mask[:, None, None])
        with torch.no_grad():
            output = net(x[None])[0]
        hook.remove()
        scores.append(output.softmax(0)[c] if score == "probability" else output[c])
    return torch.stack(scores)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    channels=st.integers(2, 9),
    pooling=st.sampled_from(["average", "max", "grid"]),
    hidden=st.sampled_from([0, 7]),
    tail=st.sampled_from(["channel by channel", "convolution", "bias before pooling"]),
    score=st.sampled_from(["logit", "probability"]),
    chunk=st.integers(1, 6),
    scale=st.sampled_from([0.3, 1.0]),
)
def test_switched_scores_are_the_loop(seed, channels, pooling, hidden, tail, score, chunk, scale):
    net = network(seed, channels, pooling, hidden, tail, scale)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, 9, 8, generator=generator)
    masks = torch.rand(2, 6, channels, generator=generator) < 0.5
    masks[:, 4], masks[:, 5] = masks[:, 0], False
    target = [seed % 5, (seed + 1) % 5]
    with untouched(net):
        seen = capture(Call.of(net, x, target), Place(net[1]), Needs(resume=Pace(chunk)))
        on, found = seen.resume.switched(masks, score)
        summed = [seen.resume._summed(rows, n, score) is not None for n, rows in enumerate(masks)]
    assert summed == [tail == "channel by channel"] * 2
    everything = torch.ones(1, channels, dtype=torch.bool)
    for n, c in enumerate(target):
        expected = loop(net, x[n], masks[n], c, score)
        with torch.no_grad():
            scale_of_scores = 1.0 if score == "probability" else float(net(x[n : n + 1]).abs().max())
        size = max(float(expected.abs().max()), scale_of_scores)
        torch.testing.assert_close(found[n], expected, rtol=0, atol=1e-5 * size + 1e-7)
        torch.testing.assert_close(on[n : n + 1], loop(net, x[n], everything, c, score), rtol=0, atol=1e-5 * size)


class Leaking(nn.Module):
    """Each channel takes a thousandth of what all of them are on average."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 1e-3 * x.mean(1, keepdim=True)


def test_channels_that_mix_a_little_are_run_mask_by_mask():
    net = network(0, 6, "average", 0, "channel by channel", 0.1)
    net.insert(2, Leaking())
    x = torch.randn(1, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    masks = torch.eye(6, dtype=torch.bool)[None]
    with untouched(net):
        seen = capture(Call.of(net, x, 1), Place(net[1]), Needs(resume=Pace(4)))
        assert seen.resume._summed(masks[0], 0, "logit") is None
        found = seen.resume.switched(masks)[1][0]
    torch.testing.assert_close(found, loop(net, x[0], masks[0], 1, "logit"), rtol=0, atol=1e-7)


@pytest.mark.slow
@torch.no_grad()
def test_masks_on_the_real_squeezenet_are_the_loop(squeezenet, data):
    file = sorted((data / "imagenet_boxes").glob("*.jpg"))[0]
    x = PREPROCESS(Image.open(file).convert("RGB").resize((224, 224)))[None]
    layer = squeezenet.features[12]
    masks = torch.rand(1, 5, 512, generator=torch.Generator().manual_seed(0)) < 0.5
    target = int(squeezenet(x).argmax())
    with untouched(squeezenet):
        seen = capture(Call.of(squeezenet, x, target), Place(layer), Needs(resume=Pace(2)))
        found = seen.resume.switched(masks)[1][0]
    for mask, score in zip(masks[0], found, strict=True):
        hook = layer.register_forward_hook(lambda m, a, out, mask=mask: out * mask[:, None, None])
        expected = squeezenet(x)[0, target]
        hook.remove()
        torch.testing.assert_close(score, expected, rtol=1e-5, atol=1e-5)


@given(st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=3), min_size=1, max_size=12))
def test_unique_rows_finds_the_first_of_equal_rows(rows):
    tensor = torch.tensor(rows)
    first, which = unique_rows(tensor)
    assert torch.equal(tensor[first][which], tensor)
    assert first[which].tolist() == [rows.index(row) for row in rows]


def test_rows_that_differ_beyond_the_digits_of_float64_are_no_equal_rows():
    rows = torch.tensor([[2**53, 5], [2**53 + 1, 5], [2**53, 5]])
    first, which = unique_rows(rows)
    assert torch.equal(rows[first][which], rows)


@pytest.mark.parametrize("channels", [0, 1, 2, 3, 6, 7, 20, 21])
def test_separating_masks_tell_every_two_channels_apart_both_ways(channels):
    masks = separating_masks(channels)
    first_alone = (masks[:, :, None] & ~masks[:, None]).any(0)
    assert bool((first_alone | torch.eye(channels, dtype=torch.bool)).all())
    assert len(separating_masks(2048)) == 14


def test_equal_and_constant_masks_are_run_once():
    net = network(0, 9, "average", 0, "channel by channel", 1.0)
    x = torch.randn(1, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        net[0].weight[4], net[0].bias[4] = net[0].weight[1], net[0].bias[1]
    cc.GradCAM(net, net[1]).attribute(x, 2)  # 9 channels of 9×8 positions: the first call proves which axis is which
    runs = []
    hook = net[0].register_forward_hook(lambda m, a, out: runs.append(len(out)))
    cc.ScoreCAM(net, net[1], perturbations_per_eval=100).attribute(x, 2)
    hook.remove()
    live = 9 - 3 - 1  # three dead channels, one double
    assert runs == [1, live + 1]  # the image itself; then the live masks and one zero mask


WIDE = """
import torch
from torch import nn
import captum_cams as cc
torch.manual_seed(0)
net = nn.Sequential(nn.AvgPool2d(32), nn.Conv2d(3, 2048, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                    nn.Linear(2048, 10)).eval()
x = torch.randn(3, 3, 224, 224)
cc.GradCAM(net, net[2]).attribute(x)
before = peak()
cc.ScoreCAM(net, net[2]).attribute(x)
cc.FDCAM(net, net[2]).attribute(x)
cc.AblationCAM(net, net[2]).attribute(x)
print(peak() - before)
"""
LIMIT = 700  # MiB; all masked images at once would be 3 · 2048 · 3 · 224² · 4 bytes = 3500 MiB


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/status is Linux's alone")
def test_two_thousand_channels_at_full_size_stay_under_the_memory_limit():
    assert 0 < printed(WIDE) < LIMIT


def test_a_bar_is_shown_for_those_who_want_it(capsys):
    net = network(0, 9, "average", 0, "convolution", 1.0)
    x = torch.randn(1, 3, 9, 8)
    for cam, bar in ((cc.ScoreCAM, "ScoreCAM: "), (cc.AblationCAM, "resumed runs: ")):
        cam(net, net[1], perturbations_per_eval=2, show_progress=True).attribute(x, 2)
        assert bar in capsys.readouterr().err
        cam(net, net[1], perturbations_per_eval=2).attribute(x, 2)
        assert not capsys.readouterr().err
