"""Memory of the wrappers follows their chunk, not the number of patches."""

import sys

import pytest
import torch

import captum_cams as cc
from tests.support.memory import printed
from tests.support.networks import NETWORKS, images

PATCHES = """
import torch
from torch import nn
import captum_cams as cc
torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1), nn.ReLU(), nn.AvgPool2d(16), nn.Conv2d(64, 8, 1), nn.ReLU(),
                    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()
x = torch.randn(1, 3, 224, 224)
cc.GradCAM(net, net[4]).attribute(x)
before = peak()
cc.JitterCAM(net, layer=net[4], perturbations_per_eval=4).attribute(x, 1)
cc.AugmentedCAM(net, layer=net[4], perturbations_per_eval=4).attribute(x, 1)
print(peak() - before)
"""
# Four images need 2 · 4 · 64 · 224² · 4 bytes = 98 MiB in the first layer; 225 patches at once would be 5500.
LIMIT = 400


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/status is Linux's alone")
def test_patches_stay_under_the_memory_of_their_chunk():
    assert 0 < printed(PATCHES) < LIMIT


@pytest.mark.parametrize("name", ["jittercam", "sess", "augmentedcam"])
@pytest.mark.parametrize("chunk", [1, 3])
def test_no_call_of_the_network_has_more_rows_than_the_chunk(name, chunk):
    model, x = NETWORKS["residual"](), images(1)
    rows = []
    model.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    options = {"growth": 2} if name == "jittercam" else {"scales": 2} if name == "sess" else {}
    cc.create(name, model, "layer4", perturbations_per_eval=chunk, **options).attribute(x, 1)
    assert max(rows) == chunk
    assert sum(rows) >= 5


def test_a_bar_is_shown_for_those_who_want_it(capsys):
    model, x = NETWORKS["residual"](), images(1)
    cc.JitterCAM(model, growth=1, show_progress=True).attribute(x, 1)
    assert "JitterCAM: " in capsys.readouterr().err
    cc.JitterCAM(model, growth=1).attribute(x, 1)
    assert not capsys.readouterr().err


def test_additional_arguments_and_further_inputs_follow_their_sample():
    model = NETWORKS["residual"]()

    def scaled(x: torch.Tensor, factor: torch.Tensor, power: int) -> torch.Tensor:
        return model(x * factor[:, None, None, None]) ** power

    x, factor = images(2), torch.tensor([0.5, 2.0])
    for name in ("jittercam", "sess", "integratedgradcam", "smoothgradcamplusplus", "scorecam", "fdcam"):
        options = {"growth": 1} if name == "jittercam" else {"scales": 1} if name == "sess" else {}
        cam = cc.create(name, scaled, model.layer4, **options)
        together = cam.attribute(x, [1, 3], (factor, 1))
        as_inputs = cam.attribute((x, factor), [1, 3], 1)
        torch.testing.assert_close(as_inputs, together)
        for n, target in enumerate((1, 3)):
            single = cam.attribute(x[n : n + 1], target, (factor[n : n + 1], 1))
            torch.testing.assert_close(together[n : n + 1], single, rtol=1e-3, atol=1e-4 * float(single.max()))
