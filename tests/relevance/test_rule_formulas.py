"""The rules of one linear layer against the sums in their papers, with bounds of every form."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import captum_cams as cc
from captum_cams.relevance.rules import EpsilonRule

INPUTS = torch.tensor([[0.5, -1.0, 2.0], [-0.25, 0.0, 1.5]], dtype=torch.float64)
WEIGHT = torch.tensor([[1.0, -2.0, 0.5], [-0.5, 1.0, 3.0]], dtype=torch.float64)  # outputs × inputs
GIVEN = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)
"""The relevance of the outputs."""


def gradient(rule: cc.ZPlusRule) -> Tensor:
    inputs = INPUTS.clone().requires_grad_()
    z = rule.denominator(inputs, WEIGHT, F.linear)
    return torch.autograd.grad((z * (GIVEN / z).detach()).sum(), inputs)[0]


def loop(contribution) -> Tensor:
    """Σ_j c_nij R_nj / Σ_i c_nij."""
    shared = torch.zeros_like(INPUTS)
    for n in range(2):
        for j in range(2):
            parts = [contribution(n, i, float(INPUTS[n, i]), float(WEIGHT[j, i])) for i in range(3)]
            for i in range(3):
                shared[n, i] += parts[i] / sum(parts) * GIVEN[n, j]
    return shared


def test_z_plus_is_equation_19():
    expected = loop(lambda n, i, x, w: max(x, 0) * max(w, 0) + min(x, 0) * min(w, 0))
    torch.testing.assert_close(gradient(cc.ZPlusRule()) * INPUTS, expected)


CHANNELS = torch.tensor([-3.0, -2.0, -1.0]), torch.tensor([4.0, 3.0, 2.5])
WHOLE = INPUTS - torch.arange(6.0).view(2, 3) - 1, INPUTS + torch.arange(6.0).view(2, 3) / 2 + 1
BOUNDS = {
    "numbers": (-2.0, 3.0, lambda n, i: (-2.0, 3.0)),
    "one per channel": (*CHANNELS, lambda n, i: (float(CHANNELS[0][i]), float(CHANNELS[1][i]))),
    "of the input's shape": (*WHOLE, lambda n, i: (float(WHOLE[0][n, i]), float(WHOLE[1][n, i]))),
    "each sample's own": (None, None, lambda n, i: (float(INPUTS[n].min()), float(INPUTS[n].max()))),
}


@pytest.mark.parametrize("kind", BOUNDS)
def test_z_beta_is_equation_20(kind):
    low, high, bounds = BOUNDS[kind]

    def contribution(n, i, x, w):
        least, most = bounds(n, i)
        return x * w - least * max(w, 0) - most * min(w, 0)

    torch.testing.assert_close(gradient(cc.ZBetaRule(low, high)), loop(contribution))


def test_a_bound_per_channel_of_images_belongs_to_the_second_axis():
    images, weight = torch.randn(2, 3, 4, 3).double(), torch.randn(5, 3, 2, 2).double()
    low = torch.tensor([-3.0, -4.0, -5.0])
    found = cc.ZBetaRule(low, 6.0).terms(images, weight)
    torch.testing.assert_close(found[0][0], images - low.double()[:, None, None])
    torch.testing.assert_close(found[1][0], images - 6)
    with pytest.raises(cc.CAMError, match=r"must broadcast to the input 2×3×4×3, got 1×4×1×1; pass a number"):
        cc.ZBetaRule(torch.zeros(4)).terms(images, weight)


def test_a_constant_input_takes_no_part():
    live = torch.tensor([[True, True, False], [False, True, True]])
    for rule in (cc.ZPlusRule(), EpsilonRule(1e-3)):
        found = sum(strength @ weight.T for strength, weight in rule.terms(INPUTS, WEIGHT, live))
        expected = sum(strength @ weight.T for strength, weight in rule.terms(INPUTS * live, WEIGHT))
        torch.testing.assert_close(found, expected)
    (above, positive), (below, negative) = cc.ZBetaRule().terms(INPUTS, WEIGHT, live)
    assert above.tolist() == [[1.5, 0.0, 0.0], [0.0, 0.0, 1.5]]  # the least of the live ones is −1, and 0
    assert below.tolist() == [[0.0, -1.5, 0.0], [0.0, -1.5, 0.0]]
    assert torch.equal(positive + negative, WEIGHT)


def test_epsilon_has_the_sign_of_the_output():
    output = torch.tensor([2.0, -2.0, 0.0])
    torch.testing.assert_close(EpsilonRule(0.25).divisor(output), torch.tensor([2.25, -2.25, 0.0]))
