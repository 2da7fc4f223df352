"""Metrics of volumes and signals against loops over voxels."""

import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import nn

import captum_cams as cc
from captum_cams import metrics
from captum_cams.metrics.presets import rise_blur
from tests.support.volumes import SIZE, seeded_densenet, volumes

STEPS = metrics.Preset(4, torch.zeros_like, lambda images: 0.5 * torch.ones_like(images))


def signals_model() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 4)
        return nn.Sequential(nn.Conv1d(1, 6, 5), nn.ReLU(), *head).eval()


CASES = {
    "volumes": (seeded_densenet, volumes),
    "signals": (signals_model, lambda: torch.randn(2, 1, 30, generator=torch.Generator().manual_seed(0))),
}


@pytest.fixture(params=CASES)
def case(request):
    """A model, its inputs, and a map for each that is as coarse as a layer's."""
    build, inputs = CASES[request.param]
    x = inputs()
    maps = torch.rand(2, 1, *(side // 3 for side in x.shape[2:]), generator=torch.Generator().manual_seed(0))
    return build(), x, maps


def large(map_: torch.Tensor, size: torch.Size) -> torch.Tensor:
    return F.interpolate(map_[None], size, mode="linear" if len(size) == 1 else "trilinear")[0, 0]


def probability(model, x, index: int) -> float:
    with torch.no_grad():
        return float(model(x[None]).softmax(1)[0, index])


@pytest.mark.parametrize("kind", ["deletion", "insertion"])
def test_curves_replace_all_voxels_in_the_order_of_the_map(case, kind):
    model, x, maps = case
    curve = getattr(metrics, f"{kind}_curve")(model, x, maps, [1, 3], preset=STEPS)
    for n, index in enumerate((1, 3)):
        order = large(maps[n], x.shape[2:]).flatten().argsort(descending=True, stable=True)
        begin, end = (x[n], torch.zeros_like(x[n])) if kind == "deletion" else (torch.full_like(x[n], 0.5), x[n])
        for step in range(5):
            changed = begin.flatten(1).clone()
            for voxel in order[: round(len(order) * step / 4)].tolist():
                changed[:, voxel] = end.flatten(1)[:, voxel]
            expected = probability(model, changed.view_as(x[n]), index)
            assert float(curve[n, step]) == pytest.approx(expected, abs=1e-5)


def test_drop_and_increase_by_a_loop(case):
    model, x, maps = case
    drop, increase = metrics.drop_and_increase(model, x, maps, [1, 3])
    for n, index in enumerate((1, 3)):
        heat = large(maps[n], x.shape[2:])
        heat = (heat - heat.min()) / (heat.max() - heat.min())
        before, after = probability(model, x[n], index), probability(model, x[n] * heat, index)
        assert float(drop[n]) == pytest.approx(100 * max(0, before - after) / before, abs=1e-3)
        assert float(increase[n]) == 100 * (after > before)


def test_half_of_the_voxels_is_kept_by_a_loop(case):
    model, x, maps = case
    drop = metrics.average_drop(model, x, maps, [1, 3], masking="fgcam")
    blurred = metrics.blur(x)
    for n, index in enumerate((1, 3)):
        heat = large(maps[n], x.shape[2:])
        best = heat.flatten().argsort(descending=True, stable=True)[: heat.numel() // 2]
        kept = torch.zeros(heat.numel(), dtype=torch.bool)
        kept[best] = True
        part = torch.where(kept.view_as(heat), x[n], blurred[n])
        before, after = probability(model, x[n], index), probability(model, part, index)
        assert float(drop[n]) == pytest.approx(100 * max(0, before - after) / before, abs=1e-3)


def test_adcc_of_a_volume_has_its_three_parts():
    model, x = seeded_densenet(), volumes()
    cam = cc.GradCAM(model, "features.9")
    maps = cam.attribute(x, [1, 3])
    parts = metrics.coherency(x, maps, cam.attribute, [1, 3]), metrics.complexity(x, maps)
    heat = cam.heatmap(x, [1, 3])
    torch.testing.assert_close(parts[1], heat.mean((1, 2, 3)))
    again = cam.heatmap(x * heat[:, None], [1, 3])
    for n in range(2):
        rho = torch.corrcoef(torch.stack((heat[n].flatten(), again[n].flatten())))[0, 1]
        assert float(parts[0][n]) == pytest.approx(float(rho + 1) / 2, abs=1e-4)
    expected = metrics.adcc_of_parts(*parts, metrics.average_drop(model, x, maps, [1, 3]) / 100)
    torch.testing.assert_close(metrics.adcc(model, x, maps, [1, 3], explain=cam.attribute), expected)


def test_blurs_are_scipys_along_every_axis():
    x = volumes(1)
    cut = 2  # SciPy cuts the kernel at radius truncate · σ
    expected = gaussian_filter(x[0, 0].double().numpy(), 1.5, mode="mirror", radius=cut)
    torch.testing.assert_close(
        metrics.blur(x, 2 * cut + 1, 1.5)[0, 0].double(), torch.from_numpy(expected), rtol=0, atol=1e-5
    )
    point = torch.zeros(11, 11, 11, dtype=torch.float64)
    point[5, 5, 5] = 1
    kernel = torch.from_numpy(gaussian_filter(point.numpy(), 5))
    expected = F.conv3d(x.double(), kernel[None, None], padding=5)
    torch.testing.assert_close(rise_blur(x).double(), expected, rtol=0, atol=1e-5)


def masks() -> list[torch.Tensor]:
    """One box of voxels in the first volume; two in the second."""
    first, second = torch.zeros(1, *SIZE), torch.zeros(2, *SIZE)
    first[0, 3:6, 4:9, 10:15] = second[0, 0:2, 0:3, 0:4] = second[1, 8:10, 8:12, 8:14] = 1
    return [first, second]


@pytest.mark.parametrize(("peak", "hit"), [((4, 8, 10), True), ((6, 8, 10), False), ((4, 9, 10), False)])
def test_the_pointing_game_asks_for_the_maximum_among_all_voxels(peak, hit):
    maps = torch.zeros(2, *SIZE)
    maps[0][peak] = maps[1, 8, 8, 8] = 1
    assert metrics.pointing_game(maps, masks(), SIZE).tolist() == [hit, True]


def test_a_margin_is_a_distance_in_space():
    maps = torch.zeros(2, *SIZE)
    maps[0, 0, 2, 8] = maps[1, 1, 2, 3] = 1  # 3, 2 and 2 voxels from the corner (3, 4, 10): √17 away
    assert metrics.pointing_game(maps, masks(), SIZE, margin=4.1).tolist() == [False, True]
    assert metrics.pointing_game(maps, masks(), SIZE, margin=4.2).tolist() == [True, True]


def test_energy_and_overlap_count_voxels():
    maps = torch.rand(2, 1, *SIZE, generator=torch.Generator().manual_seed(0))
    inside = metrics.energy_inside(maps, masks(), SIZE)
    overlap = metrics.region_overlap(maps, masks(), SIZE, levels=(0.3, 0.8))
    for n, given in enumerate(masks()):
        heat = (maps[n, 0] - maps[n].min()) / (maps[n].max() - maps[n].min())
        mask = given.sum(0) > 0
        assert float(inside[n]) == pytest.approx(float(heat[mask].sum() / heat.sum()), abs=1e-5)
        for i, level in enumerate((0.3, 0.8)):
            both, either = ((heat >= level) & mask).sum(), ((heat >= level) | mask).sum()
            assert float(overlap[n, i]) == pytest.approx(int(both) / int(either), abs=1e-6)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda: metrics.energy_inside(torch.rand(1, *SIZE), [torch.tensor([[0, 0, 4, 4]])], SIZE), "boxes lie in the"),
        (lambda: metrics.region_mask(torch.tensor([[0, 0, 4, 4]]), SIZE), "must be masks B×12×16×20"),
        (lambda: metrics.energy_inside(torch.rand(1, 4, 4), masks()[:1], SIZE), "maps must be N×d×h×w or N×1×d×h×w"),
        (lambda: metrics.complexity(volumes(), torch.rand(2, 4, 4)), "maps must be N×d×h×w or N×1×d×h×w"),
        (lambda: metrics.complexity(volumes()[0, 0], torch.rand(12, 4, 4)), "signals N×C×T need maps N×t or N×1×t"),
    ],
)
def test_what_does_not_fit_a_volume_is_refused(action, words):
    with pytest.raises(cc.CAMError, match=words):
        action()
