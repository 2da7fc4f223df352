"""Numbers near the ends of the float type's range: the float64 map or an error, never NaN, never zeros in silence."""

import copy

import pytest
import torch
from torch import nn

import captum_cams as cc
from captum_cams.engine.magnitude import levelled
from captum_cams.metrics import average_drop, coherency, complexity, curve_area, deletion_curve, insertion_curve
from tests.support.explainers import EVERY, explainer

FROM_OUTPUT = ("lrp", "clrp", "sglrp", "fullgrad", "xrai")
# Which windows are kept, and which pixels count as zero, turns on the last digit.
DISCRETE = ("sess",)
# Differences of probabilities, which float32 gives to 1e-7 of the group's map.
PROBABILITIES = {"groupcam": 1e-6}


class Scaled(nn.Module):
    """``activation`` scales what ``features`` gives, and what follows undoes it; ``logits`` scales the scores."""

    def __init__(self, activation: float, logits: float, deep: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.first_relu = nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU()
        self.second, self.features = nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU()
        self.third, self.last_relu = (nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU()) if deep else (nn.Identity(), nn.Identity())
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
        with torch.no_grad():
            for parameter in self.second.parameters():
                parameter.mul_(activation)
            (self.third if deep else self.fc).weight.div_(activation)
            for parameter in self.fc.parameters():
                parameter.mul_(logits)

    def forward(self, x):
        x = self.features(self.second(self.first_relu(self.first(x))))
        return self.fc(self.pool(self.last_relu(self.third(x))).flatten(1))


def three_images() -> torch.Tensor:
    """One of noise, a constant one, and one of noise again."""
    x = torch.randn(3, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    x[1] = 0.5
    return x


CASES = {
    "tiny": (1e-30, 1.0, False),
    "small": (1e-16, 1.0, False),
    "large": (1e16, 1.0, False),
    "huge": (1e30, 1.0, False),
    "tiny before a convolution": (1e-25, 1.0, True),
    "huge before a convolution": (1e25, 1.0, True),
    "tiny scores": (1.0, 1e-30, False),
    "huge scores": (1.0, 1e30, False),
    "tiny both": (1e-20, 1e-15, False),
}


def explained(name, model, x):
    layer = None if name in FROM_OUTPUT else "features"
    return explainer(name, model, layer).attribute(x, 2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", EVERY)
def test_the_map_is_that_of_float64_or_refused(name):
    x, served = three_images(), 0
    for case, options in CASES.items():
        model = Scaled(*options).eval()
        try:
            found = explained(name, model, x)
        except cc.CAMError:
            continue
        served += 1
        assert torch.isfinite(found).all(), case
        if name.startswith(DISCRETE):
            continue
        expected = explained(name, copy.deepcopy(model).double(), x.double())
        size = expected.flatten(1).abs().amax(1)
        bound = 1e-3 * size + PROBABILITIES.get(name, 0.0)
        difference = (found.double() - expected).flatten(1).abs().amax(1)
        assert (difference <= bound).all(), (case, difference, size)
    assert served >= 4


@pytest.mark.parametrize("name", EVERY)
def test_a_dead_sample_changes_nothing_in_the_others(name):
    """A sample without activation: its own map is finite, the others are what they are alone."""
    model, x = Scaled(1.0, 1.0, False).eval(), three_images()
    with torch.no_grad():
        model.second.bias.fill_(-0.05)
        for module in (model.first, model.second):
            module.bias.clamp_(max=0)
        x[1] = 0
    found = explained(name, model, x)
    assert torch.isfinite(found).all()
    if name not in ("centre", "random", "constant", "rise"):  # RISE adds up its masks, whatever they show
        assert float(found[1].abs().max()) <= 1e-6 * float(found.abs().max())
    alone = explained(name, model, x[2:])
    torch.testing.assert_close(found[2:], alone, rtol=1e-3, atol=1e-4 * float(alone.abs().max()))


@pytest.mark.parametrize("scale", [2.0**-120, 2.0**-60, 2.0**60, 2.0**120])
def test_the_metrics_do_not_see_the_scale_of_a_map(scale):
    model, x = Scaled(1.0, 1.0, True).eval(), three_images()
    maps = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(2))
    values = [
        [
            average_drop(model, x, m, 2),
            curve_area(deletion_curve(model, x, m, 2, preset="quick")),
            curve_area(insertion_curve(model, x, m, 2, preset="quick")),
            complexity(x, m),
            coherency(x, m, lambda inputs, target, m=m: m.flip(-1), 2),
        ]
        for m in (maps, maps * scale)
    ]
    for plain, scaled in zip(*values, strict=True):
        torch.testing.assert_close(scaled, plain, rtol=1e-4, atol=1e-5)


def test_overflow_in_half_precision_is_refused():
    model, x = Scaled(1e6, 1.0, False).eval().half(), three_images().half()
    for name in ("gradcam", "fdcam", "liftcam", "scorecam"):
        with pytest.raises(cc.CAMError, match="float32"):
            explained(name, model, x)


def test_levelling_changes_no_digit():
    values = torch.rand(2, 4, 9, generator=torch.Generator().manual_seed(0)) + 1e-3
    for scale in (2.0**-120, 1.0, 2.0**120):
        found = levelled(values * scale, (1, 2))
        assert torch.equal(found, levelled(values, (1, 2)))
        assert ((found.flatten(1).amax(1) >= 0.5) & (found.flatten(1).amax(1) < 1)).all()
    assert levelled(torch.zeros(1, 2, 3), (1, 2)).tolist() == [[[0.0] * 3] * 2]
