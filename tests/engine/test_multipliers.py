"""The rules of attention in LIFT-CAM: each adds up for every output, and is the gradient for small changes."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from captum_cams.engine.rescale import contributions


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), scale=st.sampled_from([1e-6, 0.1, 1.0, 30.0, 1000.0]), axis=st.sampled_from([1, -1]))
def test_a_softmax_shares_the_change_of_each_probability(seed, scale, axis):
    value, baseline = scale * random(1, 3, 4, seed=seed), scale * random(1, 3, 4, seed=seed + 1)
    changes = value.softmax(axis) - baseline.softmax(axis)
    for i in range(3):
        for j in range(4):
            shares = contributions(lambda values, i=i, j=j: values.softmax(axis)[:, i, j], value, baseline)
            bound = 1e-13 + 1e-12 * float(shares.abs().sum())
            torch.testing.assert_close(shares.sum(), changes[0, i, j], rtol=1e-9, atol=bound)


def test_the_rule_of_a_softmax_is_its_gradient_for_small_changes():
    value, weight = random(1, 6, seed=0), random(1, 6, seed=1)
    step = 1e-6 * random(1, 6, seed=2)
    (gradient,) = torch.autograd.grad((value.requires_grad_().softmax(1) * weight).sum(), value)
    value = value.detach()
    found = contributions(lambda values: (values.softmax(1) * weight).sum(1), value + step, value)
    torch.testing.assert_close(found, gradient * step, rtol=1e-4, atol=1e-12)


def test_two_probabilities_share_as_the_rescale_rule_of_the_sigmoid():
    """For two classes p_1 = σ(x_1 − x_2), and both entries have the slope of σ between the two runs."""
    value, baseline = random(1, 2, seed=3), random(1, 2, seed=4)
    found = contributions(lambda values: values.softmax(1)[:, 0], value, baseline)
    step = value - baseline
    logit = value[0, 0] - value[0, 1], baseline[0, 0] - baseline[0, 1]
    slope = (logit[0].sigmoid() - logit[1].sigmoid()) / (logit[0] - logit[1])
    torch.testing.assert_close(found[0], slope * step[0] * torch.tensor([1, -1]))


@pytest.mark.parametrize(
    "product", [lambda a, b: a @ b.mT, lambda a, b: torch.bmm(a, b.mT), lambda a, b: torch.einsum("nid,njd->nij", a, b)]
)
def test_a_product_shares_equally_between_its_factors(product):
    value, weight = random(1, 6, 4, seed=5), random(1, 3, 3, seed=6)
    baseline = random(1, 6, 4, seed=7)
    found = contributions(lambda v: (product(v[:, :3], v[:, 3:]) * weight).sum((1, 2)), value, baseline)
    first, second = (value + baseline).div(2).split(3, 1)
    step = (value - baseline).split(3, 1)
    expected = torch.cat(((weight @ second) * step[0], (weight.mT @ first) * step[1]), 1)
    torch.testing.assert_close(found, expected)


MASK = torch.tensor([[0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 1, 0]], dtype=torch.bool)
FUSED = {
    "plain": {},
    "scaled": {"scale": 0.3},
    "causal": {"is_causal": True},
    "masked": {"attn_mask": MASK},
    "biased": {"attn_mask": random(4, 4, seed=8)},
}


@pytest.mark.parametrize("options", FUSED.values(), ids=FUSED)
def test_the_fused_kernel_has_the_contributions_of_the_written_attention(options):
    value, weight = random(2, 12, 6, seed=9)[:1], random(1, 4, 6, seed=10)
    scale, bias = options.get("scale", 6**-0.5), options.get("attn_mask", torch.zeros(4, 4))
    hidden = ~bias if bias.dtype == torch.bool else torch.ones(4, 4).triu(1).bool() & options.get("is_causal", False)
    bias = torch.zeros(4, 4) if bias.dtype == torch.bool else bias

    def written(values: Tensor) -> Tensor:
        query, key, kept = values.split(4, 1)
        scores = (query @ key.mT * scale + bias).where(~hidden, -torch.inf)
        shares = scores.softmax(-1).where(~hidden.all(1, keepdim=True), 0)
        return (shares @ kept * weight).sum((1, 2))

    def fused(values: Tensor) -> Tensor:
        return (F.scaled_dot_product_attention(*values.split(4, 1), **options) * weight).sum((1, 2))

    baseline = torch.zeros_like(value)
    torch.testing.assert_close(fused(value), written(value))
    torch.testing.assert_close(contributions(fused, value, baseline), contributions(written, value, baseline))
