"""Every wrapper, and the methods that look at several inputs, against loops of their own."""

import operator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import captum_cams as cc
from captum_cams.images import blur, minmax, upsample
from tests.support.golden import assert_close, cases, golden
from tests.support.networks import NETWORKS, TinyVGG, images, seeded

BASES = ("gradcam", "layercam", "fdcam")


@pytest.mark.parametrize(("net", "layer"), [("tinyres", "layer4"), ("tinyvgg_bn", "features.14")])
@pytest.mark.parametrize("start", [0, 1])
def test_jittercam_is_the_authors(net, layer, start):
    model, arrays = golden(f"jittercam_{net}")
    x, target = cases(arrays)
    blocks = int(arrays["conf/blocks_blocksize"][0])
    sizes = sorted({int(key.split("/")[0][4:]) for key in arrays.files if key.startswith("size")})
    assert len(sizes) == 3
    for size in sizes:
        options = {"growth": size - blocks, "interpolation": "nearest", "count_from": start}
        cam = cc.JitterCAM(model, base=cc.GradCAM(model, layer), **options)
        found = cam.attribute(x, target)
        assert_close(found[:, 0], arrays[f"size{size}/counter{start}/J"])
        assert_close(upsample(found, x.shape[2:])[:, 0], arrays[f"size{size}/counter{start}/final"])


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("growth", [None, 2])
def test_jittercam_is_the_loop_on_oblong_images(base, interpolation, growth):
    model = NETWORKS["residual"]()
    x = F.interpolate(images(2), (40, 72), mode="bilinear")
    explain = cc.create(base, model)
    cam = cc.JitterCAM(model, base=base, growth=growth, interpolation=interpolation, perturbations_per_eval=5)
    found = cam.attribute(x, [1, 7])
    m = explain.attribute(x, [1, 7]).shape[2:]
    d = m if growth is None else (growth, growth)
    tops, lefts = ([round(i * p / n) for i in range(g + 1)] for p, n, g in zip((40, 72), m, d, strict=True))
    for n, target in enumerate((1, 7)):
        large = F.interpolate(x[n : n + 1], (40 + tops[-1], 72 + lefts[-1]), mode=interpolation)
        total, count = (torch.zeros(m[0] + d[0], m[1] + d[1]) for _ in range(2))
        for i, top in enumerate(tops):
            for j, left in enumerate(lefts):
                patch = large[:, :, top : top + 40, left : left + 72]
                total[i : i + m[0], j : j + m[1]] += explain.attribute(patch, target)[0, 0]
                count[i : i + m[0], j : j + m[1]] += 1
        torch.testing.assert_close(found[n, 0], total / count, rtol=1e-4, atol=1e-5 * float(found.max()))


def test_jittercam_without_growth_is_the_base_and_with_one_target_for_all_patches():
    model, x = NETWORKS["residual"](), images(2)
    torch.testing.assert_close(cc.JitterCAM(model, growth=0).attribute(x), cc.GradCAM(model).attribute(x))
    predicted = model(x).argmax(1).tolist()
    assert torch.equal(cc.JitterCAM(model).attribute(x), cc.JitterCAM(model).attribute(x, predicted))


@pytest.mark.parametrize("fusion", ["max", "mean", "product"])
@pytest.mark.parametrize("base", BASES)
def test_layers_are_fused_at_the_size_of_the_largest(fusion, base):
    model, x = NETWORKS["residual"](), images(2)
    layers = ["layer2", "layer3", "layer4"]
    found = cc.MultiLayerCAM(model, base=base, layers=layers, fusion=fusion).attribute(x, 3)
    maps = [minmax(cc.create(base, model, layer).attribute(x, 3)) for layer in layers]
    maps = [upsample(map_, (10, 10)) for map_ in maps]
    stacked = torch.stack(maps)
    fused = {"max": stacked.amax(0), "mean": stacked.mean(0), "product": maps[0] * maps[1] * maps[2]}
    torch.testing.assert_close(found, fused[fusion])
    automatic = cc.MultiLayerCAM(model, base=base, fusion=fusion)
    automatic.attribute(x, 3)
    blocks = {}  # the last of each size
    with torch.no_grad():
        value = model.bn1(model.conv1(x)).relu()
        for block in (model.layer1[0], model.layer2[0], model.layer3[0], model.layer4[0]):
            value = block(value)
            blocks[value.shape[2:]] = block
    assert all(map(operator.is_, automatic.found_layers, blocks.values()))
    assert len(automatic.found_layers) == len(blocks) == 3
    with pytest.raises(cc.CAMError, match="at least one"):
        cc.MultiLayerCAM(model, layers=[])


@pytest.mark.parametrize("base", BASES)
def test_transformations_are_carried_back(base):
    model, x = NETWORKS["plain"](), images(2)
    explain = cc.create(base, model)

    def single(*transformations: cc.Transformation) -> Tensor:
        return cc.AugmentedCAM(model, base=base, transformations=transformations).attribute(x, [1, 7])

    def at_input(changed: Tensor) -> Tensor:
        return upsample(explain.attribute(changed, [1, 7]), (40, 40))

    close = {"rtol": 1e-4, "atol": 1e-4 * float(at_input(x).max())}
    torch.testing.assert_close(single(cc.Transformation()), at_input(x), **close)
    mirrored = at_input(x.flip(3)).flip(3)
    torch.testing.assert_close(single(cc.Transformation(flip=True)), mirrored, **close)
    turned = at_input(x.rot90(-1, (2, 3))).rot90(1, (2, 3))  # clockwise, and back
    torch.testing.assert_close(single(cc.Transformation(angle=90)), turned, **close)
    moved = F.pad(x, (10, 0, 0, 0))[..., :40]  # ten pixels to the right
    back = F.pad(at_input(moved), (0, 10, 0, 0))[..., 10:]
    torch.testing.assert_close(single(cc.Transformation(shift=(0.25, 0.0)))[..., :-1], back[..., :-1], **close)
    both = single(cc.Transformation(), cc.Transformation(flip=True))
    torch.testing.assert_close(both, (at_input(x) + mirrored) / 2, **close)


def test_enlarging_and_back_returns_what_stays_in_the_picture():
    class Picture(cc.CAMAttribution):
        def explain(self, call):
            return call.inputs[0][:, :1]

    coarse = torch.rand(1, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    model, x = NETWORKS["plain"](), F.interpolate(coarse, (40, 40), mode="bicubic").relu()
    moved = cc.Transformation(scale=0.8, angle=10)
    cam = cc.AugmentedCAM(model, base=Picture(model, "features.10"), transformations=[moved])
    found = cam.attribute(x, 1)[..., 12:28, 12:28]
    assert float((found - x[:, :1, 12:28, 12:28]).abs().max()) < 0.05 * float(x.max())


@pytest.mark.parametrize("fusion", ["mean", "max"])
@pytest.mark.parametrize("drop", [0.0, 0.6])
def test_sess_is_the_loop(fusion, drop):
    model, x = NETWORKS["plain"](), images(2)
    cam = cc.SESS(model, scales=3, step=24, drop=drop, fusion=fusion, perturbations_per_eval=3)
    found = cam.attribute(x, [1, 7])
    explain = cc.GradCAM(model)
    windows = [(0, 0, 0), *((24, t, left) for t in (0, 24) for left in (0, 24))]
    windows += [(48, t, left) for t in (0, 24, 48) for left in (0, 24, 48)]
    for n, target in enumerate((1, 7)):
        kept = []
        for growth, top, left in windows:
            large = F.interpolate(x[n : n + 1], (40 + growth,) * 2, mode="bilinear") if growth else x[n : n + 1]
            window = large[:, :, top : top + 40, left : left + 40]
            kept.append((model(window).softmax(1)[0, target].item(), growth, top, left, window))
        kept.sort(key=lambda one: -one[0])
        kept = kept[: round(len(kept) * (1 - drop))]
        placed = []
        for p, growth, top, left, window in kept:
            map_ = minmax(upsample(explain.attribute(window, target), (40, 40))) * p / kept[0][0]
            whole = torch.zeros(1, 1, 40 + growth, 40 + growth)
            whole[:, :, top : top + 40, left : left + 40] = map_
            placed.append(upsample(whole, (40, 40)))
        stacked = torch.cat(placed)[:, 0]
        mean = stacked.sum(0) / (stacked != 0).sum(0).clamp(min=1)
        fused = mean if fusion == "mean" else stacked.amax(0)
        expected = blur(fused[None, None], 11, 5.0)[0]
        torch.testing.assert_close(found[n], expected.detach(), rtol=1e-4, atol=1e-5)


def look(model: nn.Module, layer: nn.Module, x: Tensor, target: int) -> tuple[Tensor, Tensor]:
    """Activation and gradient of one image."""
    kept = []
    hook = layer.register_forward_hook(lambda module, args, output: kept.append(output))
    score = model(x)[0, target]
    hook.remove()
    return kept[0].detach()[0], torch.autograd.grad(score, kept[0])[0][0]


@pytest.mark.parametrize("net", ["plain", "residual"])
def test_integrated_gradcam_is_the_loop(net):
    model, x = NETWORKS[net](), images(2)
    layer = model.get_submodule("features.10" if net == "plain" else "layer4")
    found = cc.IntegratedGradCAM(model, layer, steps=5, perturbations_per_eval=3).attribute(x, [1, 7])
    for n, target in enumerate((1, 7)):
        start, _ = look(model, layer, torch.zeros_like(x[:1]), target)
        total = 0
        for t in range(1, 6):
            activation, gradient = look(model, layer, x[n : n + 1] * t / 5, target)
            total = total + sum(g.mean() * (a - s) for g, a, s in zip(gradient, activation, start, strict=True)).relu()
        torch.testing.assert_close(found[n, 0], total / 5, rtol=1e-4, atol=1e-5 * float(found.max()))


def test_smooth_gradcamplusplus_is_the_loop():
    model, x = NETWORKS["plain"](), images(2)
    layer = model.features[10]
    cam = cc.SmoothGradCAMPlusPlus(model, layer, samples=4, sigma=0.2, seed=3, perturbations_per_eval=3)
    found = cam.contributions(x, [1, 7])
    noise = torch.randn(4, 3, 40, 40, generator=torch.Generator().manual_seed(3)) * 0.2
    for n, target in enumerate((1, 7)):
        spread = x[n].max() - x[n].min()
        g = torch.stack([look(model, layer, x[n : n + 1] + spread * e, target)[1] for e in noise])
        activation, _ = look(model, layer, x[n : n + 1], target)
        total = activation.sum((1, 2), keepdim=True)
        below = 2 * (g**2).mean(0) + (g**3).mean(0) * total
        alpha = torch.where(below == 0, 0, (g**2).mean(0) / below)
        weights = (alpha * g.mean(0).relu()).sum((1, 2))
        expected = weights[:, None, None] * activation
        torch.testing.assert_close(found[n], expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("net", ["tinyvgg_bn", "tinyvgg", "tinyres"])
def test_smooth_gradcamplusplus_has_torchcams_weights_by_its_formula(net):
    """TorchCAM rectifies the last gradient, not the mean, sums G³A where the paper has G³ ΣA, and adds 1e-8."""
    model, arrays = golden(f"peers_{net}")
    x, target = cases(arrays)
    layer = "layer4" if net == "tinyres" else "features.10" if net == "tinyvgg" else "features.14"
    noise = torch.from_numpy(arrays["torchcam/SmoothGradCAMpp/noise_q"].astype(np.float32)) * 0.3 / 32
    last = torch.from_numpy(arrays["torchcam/SmoothGradCAMpp/grads_last"])
    cam = cc.SmoothGradCAMPlusPlus(model, layer, samples=len(noise), perturbations_per_eval=3)
    cam.noise = lambda images: noise / (images.max() - images.min())
    weights, magnified = [], []

    def torchcams(seen):
        _, square, cube = cam.moments(seen)
        terms = cube * seen.activation
        below = 2 * square + terms.sum((2, 3), keepdim=True) + 1e-8
        # How much the sum magnifies the rounding of its terms, which differs from machine to machine.
        magnified.append(((2 * square + terms.abs().sum((2, 3), keepdim=True)) / below.abs()).amax((2, 3))[0])
        alpha = square / below
        weights.append((alpha * last[len(weights), None].relu()).sum((2, 3))[0])
        return weights[-1][None]

    cam.weights = torchcams
    for one, c in zip(x, target.tolist(), strict=True):
        cam.attribute(one[None], c)
    exact = torch.stack(magnified) < 1000
    assert exact.float().mean() > 0.8
    assert_close(torch.stack(weights) * exact, arrays["torchcam/SmoothGradCAMpp/weights"] * exact.numpy())


def test_cameras_is_the_loop():
    model, x = NETWORKS["plain"](), F.interpolate(images(2), (40, 56), mode="bilinear")
    layer = model.features[10]
    found = cc.CAMERAS(model, layer, resolutions=3, step=20).attribute(x, [1, 7])
    assert found.shape == (2, 1, 40, 56)
    for n, target in enumerate((1, 7)):
        looks = []
        for size in ((40, 56), (60, 84), (80, 112)):
            resized = x[n : n + 1] if size == (40, 56) else F.interpolate(x[n : n + 1], size, mode="bicubic")
            looks.append([upsample(part[None], (40, 56)) for part in look(model, layer, resized, target)])
        activation, gradient = (torch.cat(parts).mean(0) for parts in zip(*looks, strict=True))
        expected = (activation * gradient).sum(0).relu()
        torch.testing.assert_close(found[n, 0], expected, rtol=1e-4, atol=1e-5 * float(found.max()))


def test_wrappers_nest_where_it_makes_sense():
    model, x = NETWORKS["plain"](), images(2)
    with pytest.raises(cc.CAMError, match="smaller than the image"):
        cc.create("jittercam(guidedcam(layercam))", model, growth=1)
    jitter = cc.create("augmentedcam(jittercam(fdcam))", model, growth=1, perturbations_per_eval=4, percentile=20.0)
    assert jitter.base.base.percentile == 20.0
    assert jitter.base.growth == 1
    assert jitter.base.perturbations_per_eval == jitter.perturbations_per_eval == 4
    assert jitter.attribute(x).shape == (2, 1, 40, 40)
    with pytest.raises(cc.CAMError, match="one layer, got JitterCAM"):
        cc.create("fgcam(jittercam(gradcam))", model).attribute(x)
    with pytest.raises(cc.CAMError, match=r"takes no base, got \"gradcam\(fdcam\)\""):
        cc.create("gradcam(fdcam)", model)
    with pytest.raises(cc.CAMError, match='no option "groth"; did you mean "growth"'):
        cc.create("jittercam", model, groth=1)
    with pytest.raises(cc.CAMError, match="must look like"):
        cc.create("jittercam(gradcam", model)
    with pytest.raises(cc.CAMError, match="the model of its wrapper"):
        cc.JitterCAM(model, base=cc.GradCAM(seeded(lambda: TinyVGG(False))))
    with pytest.raises(cc.CAMError, match="layer must be None if the base is an explainer"):
        cc.JitterCAM(model, "features.10", base=cc.GradCAM(model))
    with pytest.raises(cc.CAMError, match="an explainer or its name"):
        cc.JitterCAM(model, base=3)
