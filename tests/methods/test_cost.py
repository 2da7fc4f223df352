"""The cost that every method states, against the runs of the network that are counted."""

import re

import pytest
import torch
from torch import nn

import captum_cams as cc
from captum_cams.registry import lookup, wrappers

CHANNELS, POSITIONS = 7, 25
HYPERPARAMETERS = {
    "sscam": {"samples": 3},
    "iscam": {"steps": 4},
    "groupcam": {"groups": 7},
    "rise": {"masks": 30},
    "smoothgradcamplusplus": {"samples": 6},
    "integratedgradcam": {"steps": 5},
    "cameras": {"resolutions": 3, "step": 8},
}


class Curved(nn.Module):
    """All channels live, and no part that could be left out: a hook and a sigmoid before the classifier."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2, 1), nn.Sigmoid(), nn.Conv2d(6, CHANNELS, 3, 2, 1), nn.Sigmoid()
        )
        self.head = nn.Sequential(nn.Conv2d(CHANNELS, 5, 3, padding=1), nn.Sigmoid(), nn.AdaptiveAvgPool2d(1))
        self.fc = nn.Linear(5, 4)

    def forward(self, x):
        return self.fc(self.head(self.features(x)).flatten(1))


@pytest.mark.parametrize("name", [name for name in cc.names() if name not in wrappers() and name != "cam"])
def test_no_more_runs_than_stated(name):
    model = Curved().eval()
    runs = []
    model.fc.register_forward_hook(lambda module, inputs, output: runs.append(len(output)))
    options = HYPERPARAMETERS.get(name, {})
    cam = cc.create(name, model, "features", **options)
    image = torch.rand(1, 3, 20, 20)
    cam.attribute(image, 1)
    runs.clear()
    cam.attribute(image, 1)
    formula = re.sub(r" \+ gradients?| behind the layer", "", lookup(name).cost)
    formula = formula.replace("·", "*").replace("2K", "2*K")
    stated = eval(formula, {"K": CHANNELS, "P": POSITIONS, **options})
    assert sum(runs) <= stated + 3  # a check of the shortcut with a known answer
    assert sum(runs) >= 0.5 * stated


@pytest.mark.parametrize("name", cc.names())
def test_every_class_states_a_cost_of_its_own(name):
    assert "cost" in vars(lookup(name))
