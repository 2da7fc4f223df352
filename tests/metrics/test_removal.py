"""ROAD, ARCC, average gain, single deletion and calibration against loops of their definitions."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr

import captum_cams as cc
from captum_cams import metrics
from captum_cams.images import heat
from captum_cams.metrics import PRESETS, Preset, noisy_linear_imputation
from tests.support.networks import NETWORKS, images
from tests.support.tasks import ALL, PROBABILITY, probability, small, task_of

CLASS = {"multiclass": 2, "multilabel": 3, "binary": 0, "regression": 1, "function": 1}
SIDE = 20
SHORT = Preset(5, torch.zeros_like, torch.zeros_like, pixels=90)
FUNCTIONS = ("road", "single_deletion", "calibration")


def pictures(count=2):
    return images(count)[..., ::2, ::2]


def maps_of(count=2, side=6):
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(4))


def large(map_):
    return F.interpolate(map_[None], (SIDE, SIDE), mode="bilinear")[0, 0]


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("task", ALL)
def test_road_is_the_loop(task):
    model, x, maps, c = small(task), pictures(), maps_of(side=SIDE), CLASS[task]  # no equal values
    expected = []
    for n in range(2):
        values, differences = large(maps[n]), []
        for percent in (20, 40, 60, 80):
            scores = []
            for order in (-values, values):  # the least relevant pixels first, then the most relevant ones
                removed = order >= np.percentile(order.numpy(), 100 - percent)
                changed = noisy_linear_imputation(x[n : n + 1], removed[None, None])
                scores.append(float(probability(task, model, changed, c)))
            differences.append((scores[0] - scores[1]) / 2)
        expected.append(sum(differences) / 4)
    close(metrics.road(model, x, maps, c, task=task_of(task), perturbations_per_eval=5), expected)


@pytest.mark.parametrize("task", [task for task in ALL if task != "regression"])
def test_average_gain_and_arcc_are_their_formulas(task):
    model, x, c = small(task), pictures(3), CLASS[task]
    cam = cc.GradCAM(model, model.last, task=task_of(task))
    maps = cam.attribute(x, c)
    before = probability(task, model, x, c)
    after = probability(task, model, x * heat(maps, (SIDE, SIDE)), c)
    expected = 100 * (after - before).clamp(min=0) / (1 - before)
    close(metrics.average_gain(model, x, maps, c, task=task_of(task)), expected)
    road = metrics.road(model, x, maps, c, task=task_of(task))
    parts = metrics.coherency(x, maps, cam.attribute, c), 1 - metrics.complexity(x, maps), (2 * road).clamp(0, 1)
    # In float64, and 0 where a part is 0.
    expected = [3 / sum(1 / p for p in row) if min(row) > 0 else 0 for row in torch.stack(parts, 1).tolist()]
    found = metrics.arcc(model, x, maps, c, explain=cam.attribute, task=task_of(task))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_some_probability_is_gained_and_some_roads_are_positive():
    model, x = NETWORKS["residual"](), images(6)
    maps = cc.GradCAM(model).attribute(x, 2)
    assert (metrics.average_gain(model, x, maps, 2) > 0).any()
    certain = lambda output: torch.ones_like(output)  # noqa: E731
    assert metrics.average_gain(model, x, maps, 2, task=certain).tolist() == [0] * 6
    assert (metrics.road(model, x, maps, 2) > 0).any()


@pytest.mark.parametrize("patches", [4, 3])  # 20 pixels: patches of 5, and of 7, 7 and 6
@pytest.mark.parametrize("task", ALL)
def test_single_deletion_is_the_loop(task, patches):
    model, x, maps, c = small(task), pictures(), maps_of(), CLASS[task]
    edges = [-(-SIDE * i // patches) for i in range(patches + 1)]

    def score(image):
        with torch.no_grad():
            out = model(image[None])
        read = {"binary": lambda out: torch.cat((-out, out), 1), "function": PROBABILITY["function"]}
        return float(read.get(task, lambda out: out)(out)[0, c])

    expected = []
    for n in range(2):
        sums, drops = [], []
        for top, bottom in pairwise(edges):
            for left, right in pairwise(edges):
                changed = x[n].clone()
                changed[:, top:bottom, left:right] = 0
                sums.append(float(large(maps[n])[top:bottom, left:right].sum()))
                drops.append(score(x[n]) - score(changed))
        expected.append(spearmanr(sums, drops).statistic)
    close(metrics.single_deletion(model, x, maps, c, patches=patches, task=task_of(task)), expected)


@pytest.mark.parametrize("preset", [SHORT, PRESETS["quick"]], ids=["short last step", "equal steps"])
@pytest.mark.parametrize("task", ALL)
def test_calibration_is_the_loop(task, preset):
    model, x, maps, c = small(task), pictures(), maps_of(), CLASS[task]
    curves = metrics.deletion_curve(model, x, maps, c, preset=preset, task=task_of(task))
    counts = [int(count) for count in preset.counts(SIDE**2)]
    expected = []
    for n in range(2):
        ordered = sorted(large(maps[n]).flatten().tolist(), reverse=True)
        means = [np.mean(ordered[a:b]) for a, b in pairwise(counts)]
        expected.append(np.corrcoef(means, -np.diff(curves[n].numpy()))[0, 1])
    close(metrics.calibration(model, x, maps, c, preset=preset, task=task_of(task)), expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_constant_map_gives_zero_and_a_batch_is_its_images(name):
    model, x, function = small("multiclass"), pictures(3), getattr(metrics, name)
    maps = maps_of(3)
    maps[1] = 0.1
    found = function(model, x, maps, [0, 1, 2])
    assert float(found[1]) == 0
    each = [function(model, x[i : i + 1], maps[i : i + 1], i, perturbations_per_eval=3) for i in range(3)]
    torch.testing.assert_close(found, torch.cat(each), rtol=1e-4, atol=1e-6)
    ranking = ("single_deletion", "road")
    scaled = function(model, x, 3 * maps, [0, 1, 2]) if name in ranking else function(model, x, 3 * maps + 1, [0, 1, 2])
    torch.testing.assert_close(found, scaled, rtol=1e-4, atol=1e-5)


def test_a_map_that_knows_the_drops_gets_one():
    model, x = small("multiclass"), pictures(1)
    values = torch.zeros(1, 1, SIDE, SIDE)
    with torch.no_grad():
        for i in range(16):
            rows, columns = slice(i // 4 * 5, i // 4 * 5 + 5), slice(i % 4 * 5, i % 4 * 5 + 5)
            changed = x.clone()
            changed[..., rows, columns] = 0
            values[..., rows, columns] = (model(x) - model(changed))[0, 1]
    assert float(metrics.single_deletion(model, x, values, 1)) == pytest.approx(1)
    assert float(metrics.single_deletion(model, x, -values, 1)) == pytest.approx(-1)


def test_a_model_that_sees_nothing_leaves_correlations_undefined():
    blind = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE**2, 4))
    torch.nn.init.zeros_(blind[1].weight)
    x, maps = pictures(), maps_of()
    assert metrics.single_deletion(blind, x, maps, 0).isnan().all()
    assert metrics.calibration(blind, x, maps, 0).isnan().all()
    assert metrics.road(blind, x, maps, 0).tolist() == [0, 0]
    shell = metrics.SingleDeletion()
    shell.update(blind, x, maps, 0)
    assert shell.compute().isnan()
    model = small("multiclass")
    shell.update(model, x, maps, 0)
    torch.testing.assert_close(shell.compute(), metrics.single_deletion(model, x, maps, 0).mean())


@pytest.mark.parametrize("task", ["multilabel", "function"])
def test_shells_updated_in_parts_are_the_mean(task):
    model, x = small(task), pictures(5)
    cam = cc.GradCAM(model, model.last, task=task_of(task))
    maps, options = cam.attribute(x, 1), {"task": task_of(task)}
    shells = {
        "road": metrics.ROAD((20, 60), **options),
        "arcc": metrics.ARCC(cam.attribute, **options),
        "average_gain": metrics.AverageGain("fgcam", **options),
        "single_deletion": metrics.SingleDeletion(3, **options),
        "calibration": metrics.Calibration("quick", **options),
    }
    own = {
        "road": {"percentages": (20, 60)},
        "arcc": {"explain": cam.attribute},
        "average_gain": {"masking": "fgcam"},
        "single_deletion": {"patches": 3},
        "calibration": {"preset": "quick"},
    }
    for name, shell in shells.items():
        for part in (slice(0, 1), slice(1, 5)):
            shell.update(model, x[part], maps[part], 1)
        expected = getattr(metrics, name)(model, x, maps, 1, **own[name], **options)
        assert expected.std() > 0 or name in ("average_gain", "arcc")
        torch.testing.assert_close(shell.compute(), expected.mean(), rtol=1e-4, atol=1e-6)
