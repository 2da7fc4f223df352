"""The rules inside Captum's own LRP."""

import pytest
import torch
from captum.attr import LRP, LayerLRP
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, IdentityRule
from torch import nn

import captum_cams as cc
from tests.support.networks import images, seeded
from tests.support.untouched import same, state


def network(bias: bool) -> nn.Sequential:
    """Of modules that Captum's LRP knows."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=bias),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, bias=bias),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        Flat(),
        nn.Linear(8, 4, bias=bias),
    )


class Flat(nn.Module):
    """Captum's LRP refuses nn.Flatten unless it is given a rule."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


def ruled(model: nn.Sequential, rule) -> nn.Sequential:
    for module in model:
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.rule = rule()
        if isinstance(module, Flat):
            module.rule = EpsilonRule()
    return model


def test_z_plus_is_captums_alpha_beta_on_positive_inputs_without_biases():
    model, x = seeded(lambda: network(bias=False)), images(2).abs().requires_grad_()
    expected = LRP(ruled(model, Alpha1_Beta0_Rule)).attribute(x, target=1)
    found = LRP(ruled(model, cc.ZPlusRule)).attribute(x, target=1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6 * float(expected.detach().abs().max()))


@pytest.mark.parametrize("bias", [False, True])
def test_captums_lrp_with_the_rules_is_the_engine(bias):
    model, x = seeded(lambda: network(bias)), images(2).requires_grad_()
    expected = cc.LRP(model).contributions(x, 1)
    before = state(model)
    ruled(model, cc.ZPlusRule)
    model[0].rule = cc.ZBetaRule()
    found = LRP(model).attribute(x, target=1)
    torch.testing.assert_close(found.detach(), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    ruled(model, cc.ZPlusRule)
    layer = LayerLRP(model, model[3]).attribute(x, target=1)
    at_layer = cc.LRP(model, "3").contributions(x, 1)
    torch.testing.assert_close(layer.detach(), at_layer, rtol=1e-4, atol=1e-5 * float(at_layer.abs().max()))
    assert all(same(before[key], state(model)[key]) for key in ("parameters", "buffers", "training", "hooks"))


def test_captums_identity_rule_and_ours_agree_on_batchnorm():
    model = seeded(
        lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), Flat())
    )
    x = images(2).abs().requires_grad_()
    ruled(model, cc.ZPlusRule)
    model[1].rule = IdentityRule()
    found = LRP(model).attribute(x, target=2)
    start = nn.Sequential(nn.Identity(), *model)
    expected = cc.LRP(start, start[0]).contributions(x, 2)
    torch.testing.assert_close(found.detach(), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_a_rule_on_a_module_without_a_matrix_is_refused():
    model = seeded(lambda: network(bias=True))
    ruled(model, cc.ZPlusRule)
    model[5].rule = cc.ZPlusRule()
    with pytest.raises(cc.CAMError, match="must be the rule of a convolution or linear layer, got AdaptiveAvgPool2d"):
        LRP(model).attribute(images(1).requires_grad_(), target=0)
