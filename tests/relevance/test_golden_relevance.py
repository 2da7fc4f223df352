"""Outputs of the FG-CAM authors' own code, on stored networks and single layers (see tests/golden/README.md)."""

import numpy as np
import pytest
import torch
from torch import nn

import captum_cams as cc
from captum_cams.engine.layers import Place
from tests.support.golden import GOLDEN, assert_close, cases, golden

DEEP = {"tinyvgg_bn": "features.14", "tinyvgg": "features.10"}


def base(name: str, model: nn.Module, layer: str) -> cc.WeightedCAM:
    if name == "grad_cam":
        return cc.GradCAM(model, layer)
    return cc.ScoreCAM(model, layer, score="probability", softmax=False)


@pytest.mark.parametrize("net", DEEP)
@pytest.mark.parametrize("name", ["grad_cam", "score_cam"])
def test_components_and_their_denoised_form(net, name):
    model, arrays = golden(f"fgcam_{net}")
    x, target = cases(arrays)
    plain = base(name, model, DEEP[net])
    assert_close(plain.contributions(x, target), arrays[f"{name}/I_base"])
    denoised = cc.FGCAM(model, base=plain, to=DEEP[net], denoising=True)
    assert_close(denoised.contributions(x, target), arrays[f"{name}/I_svd"])


@pytest.mark.parametrize("net", DEEP)
@pytest.mark.parametrize("name", ["grad_cam", "score_cam"])
@pytest.mark.parametrize("kind", ["plain", "denoise"])
def test_fgcam_is_the_authors_at_every_stored_layer(net, name, kind):
    model, arrays = golden(f"fgcam_{net}")
    x, target = cases(arrays)
    places = [int(key.split("/")[2][1:]) for key in arrays.files if key.startswith(f"{name}/{kind}/L") and "map" in key]
    assert len(set(places)) == 5
    for place in set(places):
        to = "input" if place == -1 else f"features.{place}"
        cam = cc.FGCAM(model, base=base(name, model, DEEP[net]), to=to, denoising=kind == "denoise")
        found = cam.contributions(x, target)
        assert_close(found.sum(1), arrays[f"{name}/{kind}/L{place}/map"], 1e-3 if place == -1 else 1e-4)
        if kind == "plain" and f"{name}/plain/L{place}/I" in arrays.files:
            assert_close(found, arrays[f"{name}/plain/L{place}/I"], 1e-3 if place == -1 else 1e-4)
        rectified = cam.attribute(x, target)
        assert torch.equal(rectified[:, 0], cam.attribute(x, target, relu_attributions=False)[:, 0].relu())


def layer(arrays: np.lib.npyio.NpzFile, case: str) -> nn.Module:
    if case.startswith("maxpool"):
        return nn.MaxPool2d(*(int(v) for v in arrays[f"{case}/attrs"]))
    if case.startswith("adaptive"):
        return nn.AdaptiveAvgPool2d(tuple(int(v) for v in arrays[f"{case}/attrs"]))
    weight, bias = (torch.from_numpy(arrays[f"{case}/{key}"]) for key in ("weight", "bias"))
    stride, pad, groups = (int(v) for v in arrays[f"{case}/stride_pad_groups"])
    conv = nn.Conv2d(weight.shape[1] * groups, len(weight), weight.shape[2:], stride, pad, groups=groups)
    conv.load_state_dict({"weight": weight, "bias": bias})
    return conv


RULES = np.load(GOLDEN / "fgcam_layer_rules.npz")
CASES = sorted({key.split("/")[0] for key in RULES.files if key.endswith("/X")})


@pytest.mark.parametrize("case", CASES)
def test_the_rule_of_a_single_layer_is_the_authors(case):
    assert len(CASES) >= 11
    x, relevance = (torch.from_numpy(RULES[f"{case}/{key}"]) for key in ("X", "I_in"))
    model = nn.Sequential(nn.Identity(), layer(RULES, case))
    end = x if "zbeta" in case else Place(model[0])
    with cc.Propagation().trail(model, end, Place(model[1])) as trail:
        output = model(x.clone())
    assert_close(output, RULES[f"{case}/Y"])
    assert_close(trail.back(relevance), RULES[f"{case}/I_out"])
