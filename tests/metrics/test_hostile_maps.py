"""Every metric of a map gives its number on random networks and odd maps, or an error that teaches, and never NaN."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from captum_cams import CAMError, metrics

SIZE, N = (9, 13), 2
BOXES = [torch.tensor([[1, 1, 4, 5]]), torch.tensor([[12, 8, 13, 9], [2, 2, 6, 3]])]
CLASSES = [0, 1]


def explaining(maps: Tensor) -> Callable[[Tensor, list[int]], Tensor]:
    """An explainer that gives the image its map upside down, whatever was changed in it."""

    def explain(changed: Tensor, target: list[int]) -> Tensor:
        return maps[torch.tensor(target).flatten()].flip(2)

    return explain


# The value of each metric for images n, and the range of the values. `every` holds the maps of all classes.
MEASURES = {
    "road": (lambda net, x, maps, n, every: metrics.road(net, x, maps, n, percentages=(20, 60)), (-0.5, 0.5)),
    "arcc": (lambda net, x, maps, n, every: metrics.arcc(net, x, maps, n, explain=explaining(every)), (0, 1)),
    "average_gain": (lambda net, x, maps, n, every: metrics.average_gain(net, x, maps, n), (0, 100)),
    "sparseness": (lambda net, x, maps, n, every: metrics.sparseness(x, maps), (0, 1)),
    "entropy": (lambda net, x, maps, n, every: metrics.entropy(x, maps), (0, 4.77)),  # log 117 pixels
    "single_deletion": (lambda net, x, maps, n, every: metrics.single_deletion(net, x, maps, n), (-1, 1)),
    "calibration": (lambda net, x, maps, n, every: metrics.calibration(net, x, maps, n, preset="quick"), (-1, 1)),
    "mass": (lambda net, x, maps, n, every: metrics.relevance_mass(maps, [BOXES[i] for i in n], SIZE), (0, 1)),
    "rank": (lambda net, x, maps, n, every: metrics.relevance_rank(maps, [BOXES[i] for i in n], SIZE), (0, 1)),
    "top k": (lambda net, x, maps, n, every: metrics.top_k_intersection(maps, [BOXES[i] for i in n], SIZE), (0, 1)),
}

ODD = {
    "random": lambda maps: maps,
    "ties": torch.round,
    "all zero": torch.zeros_like,
    "constant": lambda maps: torch.full_like(maps, 0.3),
    "constant and negative": lambda maps: torch.full_like(maps, -2.0),
    "negative": lambda maps: -maps.abs() - 1,
    "one high place": lambda maps: (maps == maps.amax((2, 3), keepdim=True)).to(maps),
    "huge": lambda maps: 1e30 * maps,
    "tiny": lambda maps: 1e-30 * maps,
    "hardly finite": lambda maps: 1e38 * maps.sign(),
    "with little contrast": lambda maps: 100 + 1e-3 * maps,
}
FLAT = ("all zero", "constant", "constant and negative")


def network(seed: int, channels: int, dtype: torch.dtype) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        convolution, linear = nn.Conv2d(channels, 5, 3, padding=1), nn.Linear(20, 3)
    layers = convolution, nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), linear
    return nn.Sequential(*layers).to(dtype).eval()


def of_flat_maps(name: str, maps: Tensor) -> list[float] | None:
    """What the definitions say of maps that order nothing; None for average gain, which sees a black image."""
    covered = [float(metrics.region_mask(boxes, SIZE).float().mean()) for boxes in BOXES]
    zero = [0.0] * N
    values = {
        "average_gain": None,
        "entropy": [math.log(SIZE[0] * SIZE[1])] * N,
        "mass": [share * (map_ > 0) for share, map_ in zip(covered, maps.flatten(1)[:, 0].tolist(), strict=True)],
        "rank": covered,
        "top k": covered,
    }
    return values.get(name, zero)


@pytest.mark.parametrize("name", MEASURES)
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    odd=st.sampled_from([*ODD]),
    channels=st.sampled_from([1, 3, 4]),
    side=st.sampled_from([(1, 1), (3, 4), SIZE, (17, 20)]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    order=st.permutations(CLASSES),
)
def test_each_image_has_its_number_whatever_its_batch(name, seed, odd, channels, side, dtype, order):
    measure, (low, high) = MEASURES[name]
    generator = torch.Generator().manual_seed(seed)
    net, x = network(seed, channels, dtype), torch.rand(N, channels, *SIZE, generator=generator).to(dtype)
    maps = ODD[odd](torch.randn(N, 1, *side, generator=generator).to(dtype))
    found = measure(net, x[order], maps[order], order, maps)
    assert found.shape == (N,)
    assert bool(((found >= low) & (found <= high)).all()), found
    alone = [measure(net, x[n : n + 1], maps[n : n + 1], [n], maps) for n in order]
    torch.testing.assert_close(torch.cat(alone), found, rtol=1e-4, atol=1e-5)
    expected = of_flat_maps(name, maps) if odd in FLAT or side == (1, 1) else None
    if expected is not None:
        assert found.tolist() == pytest.approx([expected[n] for n in order], abs=1e-6)


@pytest.mark.parametrize("odd", ODD)
def test_sensitivity_is_relative_whatever_the_size_of_the_values(odd):
    """An explainer whose maps grow by a hundredth for each changed image."""
    maps = ODD[odd](torch.randn(N, 1, 3, 4, generator=torch.Generator().manual_seed(0)))
    found = metrics.sensitivity(torch.rand(N, 3, *SIZE), maps, lambda x, _: 1.01 * maps, CLASSES, samples=1)
    expected = 0.0 if odd == "all zero" else 0.01
    assert found.tolist() == pytest.approx([expected] * N, rel=0.02)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize(
    "wrong",
    [
        lambda maps: maps * torch.nan,
        lambda maps: maps.clone().fill_(torch.inf),
        lambda maps: maps[:0],
        lambda maps: maps.expand(-1, 3, -1, -1),
        lambda maps: maps[:1],
    ],
    ids=["NaN", "infinite", "none", "channels", "too few"],
)
def test_what_is_no_map_is_refused(name, wrong):
    net, x, maps = network(0, 3, torch.float32), torch.rand(N, 3, *SIZE), torch.rand(N, 1, 3, 4)
    with pytest.raises(CAMError, match="maps"):
        MEASURES[name][0](net, x, wrong(maps), CLASSES, maps)
