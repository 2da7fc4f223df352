"""Volumes and clips: the map of a flat volume is that of an image, and formulas in three dimensions."""

import itertools
import math

import captum.attr
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import video
from torchvision.models.video.swin_transformer import SwinTransformer3d

import captum_cams as cc
from tests.support.explainers import ANY_LAYER, explainer
from tests.support.networks import images, seeded
from tests.support.untouched import same, state
from tests.support.volumes import SIZE, seeded_densenet, volumes


def in_space(name: str) -> bool:
    """Whether a method explains volumes: it or the base that it wraps says so."""
    cam = explainer(name, flat(2), "2")
    return not isinstance(cam, cc.VariantsCAM | cc.XRAI) and getattr(getattr(cam, "base", cam), "any_dimension", True)


def flat(dimensions: int) -> nn.Module:
    """A network of the plane; in three dimensions, its kernels are one slice deep."""
    if dimensions == 2:
        layers = nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    else:
        layers = (
            *(nn.Conv3d(3, 6, (1, 3, 3), (1, 2, 2)), nn.ReLU(), nn.Conv3d(6, 8, (1, 3, 3)), nn.ReLU()),
            nn.AdaptiveAvgPool3d(1),
        )
    return seeded(lambda: nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 5)))


SLOW = pytest.mark.slow
IN_SPACE = [name for name in cc.names() if in_space(name)]
IN_PLANE = [name for name in ANY_LAYER if name not in IN_SPACE]


def test_only_methods_of_the_plane_are_left_out():
    assert IN_PLANE == ["augmentedcam", "cameras", "jittercam", "sess", "xrai"]


@pytest.mark.parametrize("name", IN_PLANE)
def test_a_method_of_the_plane_refuses_a_volume(name):
    kind = type(explainer(name, flat(3))).__name__
    with pytest.raises(cc.CAMError, match=f"{kind} needs images N×C×H×W, got 2×1×12×16×20; {kind} works in the plane"):
        explainer(name, seeded_densenet()).attribute(volumes(), 1)


@pytest.mark.parametrize("name", [name for name in IN_SPACE if name != "rise"])  # its grid has cells along each axis
def test_the_map_of_one_slice_is_that_of_the_image(name):
    plane, space, x = flat(2), flat(3), images(2)[..., :26]
    weights = plane.state_dict()
    space.load_state_dict({key: v[:, :, None] if v.ndim == 4 else v for key, v in weights.items()})
    layers = {"layers": ["1", "3"]} if name == "multilayercam" else {}
    layer = None if layers or name in ("lrp", "clrp", "sglrp", "fullgrad", "xrai") else "3"
    expected = explainer(name, plane, layer, **layers).attribute(x, [1, 3])
    found = explainer(name, space, layer, **layers).attribute(x[:, :, None], [1, 3])
    assert found.shape == (2, 1, 1, *expected.shape[2:])
    assert expected.std() > 0
    torch.testing.assert_close(found[:, :, 0], expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", IN_SPACE)
def test_a_volume_is_explained_alone_and_in_a_batch(name):
    model, x = seeded_densenet(), volumes()
    before, cam = state(model), explainer(name, model)
    if name == "guidedcam":
        cam = explainer(name, model, "features")
    maps = cam.attribute(x, [1, 3], relu_attributions=False)
    alone = cam.attribute(x[1:], 3, relu_attributions=False)
    torch.testing.assert_close(maps[1:], alone, rtol=0, atol=1e-4 * float(maps.abs().max()))
    assert same(before, state(model))


def test_a_heat_map_is_interpolated_along_all_three_axes():
    model, x = seeded_densenet(), volumes()
    maps = cc.GradCAM(model, "features").attribute(x, 1)
    large = F.interpolate(maps, SIZE, mode="trilinear", align_corners=False)[:, 0]
    low, high = large.amin((1, 2, 3), keepdim=True), large.amax((1, 2, 3), keepdim=True)
    found = cc.GradCAM(model, "features").heatmap(x, 1)
    assert found.shape == (2, *SIZE)
    torch.testing.assert_close(found, (large - low) / (high - low))


@pytest.mark.parametrize(
    "build", ["dense", "mc3_18", *(pytest.param(n, marks=SLOW) for n in ("r3d_18", "r2plus1d_18"))]
)
def test_gradcam_is_captums(build):
    if build == "dense":
        model, x, layer = seeded_densenet(), volumes(), "features.9"
    else:
        model, layer = seeded(lambda: getattr(video, build)(weights=None, num_classes=5)), "layer3"
        x = torch.randn(2, 3, 6, 24, 24, generator=torch.Generator().manual_seed(0))
    module = model.get_submodule(layer)
    expected = captum.attr.LayerGradCam(model, module).attribute(x, 1).detach()
    found = cc.GradCAM(model, layer).attribute(x, 1, relu_attributions=False)
    assert expected.std() > 0
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_a_layer_with_its_channels_last_is_explained_with_reshape():
    model = seeded(lambda: SwinTransformer3d([2, 4, 4], 12, [1, 1], [2, 2], [2, 2, 2], num_classes=5))
    x, kept = torch.randn(1, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0)), []
    with model.norm.register_forward_hook(lambda module, args, output: kept.append(output)):
        (gradient,) = torch.autograd.grad(model(x)[0, 1], kept)
    expected = (gradient.mean((1, 2, 3), keepdim=True) * kept[0]).sum(-1).detach()
    found = cc.GradCAM(model, "norm", reshape="channels_last").attribute(x, 1, relu_attributions=False)
    assert expected.shape == (1, 4, 4, 4)
    assert expected.std() > 0
    torch.testing.assert_close(found[:, 0], expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def score(model: nn.Module, x: Tensor, target: int, probability: bool) -> float:
    with torch.no_grad():
        out = model(x[None])
    return float((out.softmax(1) if probability else out)[0, target])


def test_scorecam_by_a_loop_over_channels():
    model, x = seeded_densenet(), volumes(1)
    activation = model.features(x).detach()[0]
    weights = []
    for channel in activation:
        mask = F.interpolate(channel[None, None], SIZE, mode="trilinear")[0]
        mask = (mask - mask.min()) / (mask.max() - mask.min()) if mask.max() > mask.min() else 0 * mask
        weights.append(score(model, x[0] * mask, 2, probability=False))
    expected = sum(w * channel for w, channel in zip(torch.tensor(weights).softmax(0), activation, strict=True)).relu()
    found = cc.ScoreCAM(model, "features").attribute(x, 2)[0, 0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.max()))


def test_rise_by_a_loop_over_masks():
    model, x, count = seeded_densenet(), volumes(1), 5
    generator = torch.Generator().manual_seed(3)
    grids = torch.rand(count, 1, 2, 2, 2, generator=generator) < 0.4
    shifts = torch.rand(count, 3, generator=generator)
    expected = torch.zeros(SIZE)
    cells = [math.ceil(side / 2) for side in SIZE]
    for grid, shift in zip(grids, shifts, strict=True):
        large = F.interpolate(grid[None].float(), [3 * cell for cell in cells], mode="trilinear")[0, 0]
        d, h, w = (int(s * cell) for s, cell in zip(shift, cells, strict=True))
        mask = large[d : d + SIZE[0], h : h + SIZE[1], w : w + SIZE[2]]
        expected += score(model, x[0] * mask, 1, probability=True) * mask / (count * 0.4)
    found = cc.RISE(model, masks=count, grid=2, keep=0.4, seed=3).attribute(x, 1)[0, 0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("gaussian", [False, True])
def test_reciprocam_by_a_loop_over_positions(gaussian):
    model, x = seeded_densenet(), volumes(1)
    activation = model.features(x).detach()
    size, window = activation.shape[2:], (0.25, 0.5, 0.25) if gaussian else (0.0, 1.0, 0.0)
    expected = torch.zeros(size)
    for place in itertools.product(*map(range, size)):
        mask = torch.zeros(size)
        for step in itertools.product((-1, 0, 1), repeat=3):
            near = tuple(at + by for at, by in zip(place, step, strict=True))
            if all(0 <= at < side for at, side in zip(near, size, strict=True)):
                mask[near] = math.prod(window[1 + by] for by in step)
        expected[place] = model.out((activation * mask).mean((2, 3, 4)))[0, 2].item()
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    found = cc.ReciproCAM(model, "features", gaussian=gaussian).attribute(x, 2)[0, 0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_the_centre_is_the_middle_of_all_axes():
    found = cc.Centre(seeded_densenet(), "features").attribute(volumes(1))[0, 0]
    for place in itertools.product(*map(range, found.shape)):
        squares = [((at + 0.5) / side - 0.5) ** 2 for at, side in zip(place, found.shape, strict=True)]
        assert found[place].item() == pytest.approx(math.exp(-8 * sum(squares)))
