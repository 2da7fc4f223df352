"""Rounding is told from a wrong map."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import captum_cams as cc
from captum_cams.export.check import check, rounding_of_scaled
from captum_cams.export.forms import OneWindow
from captum_cams.images import minmax
from tests.support.networks import seeded


def network(level: float) -> nn.Module:
    """A network whose scores of windows differ by about 1 around a level."""

    def build():
        layers = [nn.Conv2d(3, 6, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(6, 5))

    net = seeded(build)
    with torch.no_grad():
        net[4].bias.fill_(level)
    return net


def noise():
    return torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 1e4), st.floats(1e-2, 1e2), st.integers(0, 99))
def test_the_rounding_of_scores_moves_a_scaled_map_no_further(level, spread, seed):
    exact = torch.rand(3, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    exact = level + spread * exact
    low, high = exact.amin((2, 3), keepdim=True), exact.amax((2, 3), keepdim=True)
    rounded = exact.float()
    moved = (minmax(rounded) - (exact - low) / (high - low)).abs().amax((2, 3), keepdim=True)
    assert bool((moved <= rounding_of_scaled(rounded)).all())


def test_what_rounding_moves_grows_with_the_condition_of_the_map():
    maps = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).repeat(2, 1, 1, 1)
    maps[1] += 1000
    small, large = rounding_of_scaled(maps).flatten().tolist()
    assert large == pytest.approx(1001 * small)
    assert rounding_of_scaled(torch.ones(1, 1, 2, 2)).item() == 0


@pytest.mark.parametrize("level", [0.0, 1000.0])
def test_a_wrong_map_is_refused_at_any_condition(level):
    net, x = network(level), noise()
    module = cc.with_map(net, "reciprocam", "1", inputs=x)
    explainer = cc.create("reciprocam", net, "1")
    check(module, net, explainer, x, None)
    assert isinstance(module.form, OneWindow)
    module.form.masks = module.form.masks.roll(1, 0)
    with pytest.raises(cc.CAMError, match="exported map must equal the map"):
        check(module, net, explainer, x, None)


def test_a_map_that_rounding_makes_is_refused_in_float32_alone():
    """The exported tail is moved by two steps of ε, as another order of the same sums would."""

    class Moved(nn.Module):
        def __init__(self, tail):
            super().__init__()
            self.tail = tail

        def forward(self, *given):
            scores = self.tail(*given)
            steps = torch.arange(len(scores), device=scores.device)[:, None] % 3
            return scores * (1 + steps * torch.finfo(scores.dtype).eps)

    for dtype in (torch.float32, torch.float64):
        net, x = network(1e5).to(dtype), noise().to(dtype)
        module = cc.with_map(net, "reciprocam", "1", inputs=x)
        module.form.tail = Moved(module.form.tail)
        explainer = cc.create("reciprocam", net, "1")
        if dtype == torch.float64:
            check(module, net, explainer, x, None)
            continue
        with pytest.raises(cc.CAMError, match=r"export model\.double"):
            check(module, net, explainer, x, None)
