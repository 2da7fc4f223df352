"""Relevance through attention: against dense sums, in every way of writing it, and against gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import captum_cams as cc
from captum_cams.relevance.marks import Mark, mark
from captum_cams.relevance.operations import Operations
from captum_cams.relevance.rules import EpsilonRule, ZBetaRule
from tests.support.attention import DIM, Reference, TwoBlocks
from tests.support.networks import seeded


def net(way: str = "unfused", seed: int = 0) -> TwoBlocks:
    return seeded(lambda: TwoBlocks(way), seed).double().eval()


def images(count: int, seed: int = 0, size: int = 8) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed)).double()


def close(found: Tensor, expected: Tensor, rtol: float = 1e-5) -> None:
    torch.testing.assert_close(found, expected, rtol=rtol, atol=rtol * float(expected.abs().max()))


@pytest.mark.parametrize("seed", range(4))
@torch.no_grad()
def test_z_plus_through_two_blocks_is_the_dense_sum(seed):
    model, x = net(seed=seed), images(2, seed)
    found = cc.LRP(model).contributions(x, [1, 2])
    tokens = cc.LRP(model, "blocks.0", reshape="tokens").contributions(x, [1, 2])
    for sample, target in enumerate((1, 2)):
        expected, between = Reference(model).pixels(x[sample], target)
        close(found[sample], expected)
        close(tokens[sample], between[1:].T.unflatten(1, (2, 2)))


@pytest.mark.parametrize("epsilon", [1e-6, 1e-2])
@torch.no_grad()
def test_epsilon_through_a_block_is_the_dense_sum(epsilon):
    model, x = net(), images(1)
    cam = cc.LRPCAM(model, "blocks.0", epsilon=epsilon, reshape="tokens")
    weighted = cam.contributions(x, 1)[0]  # w_k A_k
    tokens = model.blocks[0](seen(model, x))[0, 1:].T.unflatten(1, (2, 2))
    _, between = Reference(model, epsilon).pixels(x[0], 1)
    close(weighted, between[1:].sum(0)[:, None, None] * tokens)


def seen(model: TwoBlocks, x: Tensor) -> Tensor:
    """The tokens that the first block reads."""
    patches = model.patches(x).flatten(2).transpose(1, 2)
    return torch.cat((model.token.expand(len(x), -1, -1), patches), 1) + model.position


@pytest.mark.parametrize("way", ["fused", "module", "einsum", "baddbmm"])
@pytest.mark.parametrize("name", ["lrp", "clrp", "sglrp", "fgcam", "relevancecam"])
def test_every_way_of_writing_attention_gives_one_map(way, name):
    options = {} if name in ("lrp", "clrp", "sglrp") else {"layer": "blocks.1.norm1", "reshape": "tokens"}
    x = images(2)
    found, expected = (cc.create(name, net(each), **options).contributions(x, 1) for each in (way, "unfused"))
    close(found, expected)


def test_fgcam_carries_tokens_to_tokens_to_a_map_and_to_pixels():
    model, x = net(), images(2)
    base = {"layer": "blocks.1.norm1", "reshape": "tokens"}
    grid = cc.create("fgcam", model, to="blocks.0", **base).contributions(x, 1)
    assert grid.shape == (2, DIM, 2, 2)
    # The base's contributions, with nothing at the class token, through the norm alone.
    start = cc.GradCAM(model, "blocks.1.norm1", reshape="tokens").contributions(x, 1)
    close(grid, start)
    at_patches = cc.create("fgcam", model, to="patches", **base).contributions(x, 1)
    assert at_patches.shape == (2, DIM, 2, 2)
    pixels = cc.create("fgcam", model, **base).contributions(x, 1)
    close(pixels.sum((1, 2, 3)), at_patches.sum((1, 2, 3)))


@pytest.mark.parametrize("name", ["lrp", "fgcam"])
def test_samples_do_not_meet(name):
    options = {"layer": "blocks.1.norm1", "reshape": "tokens"} if name == "fgcam" else {}
    cam, x = cc.create(name, net(), **options), images(3)
    together = cam.contributions(x, [0, 1, 2])
    close(together, torch.cat([cam.contributions(x[i : i + 1], i) for i in range(3)]), 1e-9)


def relevance(run, x: Tensor, given: Tensor) -> Tensor:
    """The relevance of x, of whose operation ``run(x)`` the relevance is given."""
    operations = Operations(False, ZBetaRule(), lambda module: "", EpsilonRule(0.0))
    leaf = mark(x.clone().requires_grad_(), Mark())
    with operations:
        output = run(leaf)
    return torch.autograd.grad(output, leaf, given)[0]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def test_attention_of_itself_is_gradient_times_input_with_half_of_it_at_each_product():
    """With ε = 0, AttnLRP through softmax(x xᵀ) x is the gradient of each path, times x, over two for each product."""
    x, given = draw(2, 4, 3), draw(2, 4, 3, seed=1)

    def run(x: Tensor) -> Tensor:
        return (x @ x.mT).softmax(-1) @ x

    at_scores, at_values = x.clone().requires_grad_(), x.clone().requires_grad_()
    output = (at_scores @ at_scores.mT).softmax(-1) @ at_values
    paths = torch.autograd.grad(output, (at_scores, at_values), given / output.detach())
    # Two products halve the way through the scores, whose two factors each get their own half.
    close(relevance(run, x, given), x * (paths[0] / 4 + paths[1] / 2), 1e-9)


def test_masked_scores_get_nothing_and_no_nan():
    x, given, mask = draw(2, 4, 3), draw(2, 4, 3, seed=1), torch.ones(4, 4, dtype=torch.bool).tril()
    added = torch.zeros(4, 4).double().masked_fill(~mask, -torch.inf)
    ways = (
        lambda x: (x @ x.mT).masked_fill(~mask, -torch.inf).softmax(-1) @ x,
        lambda x: torch.where(mask, x @ x.mT, -torch.inf).softmax(-1) @ x,
        lambda x: F.scaled_dot_product_attention(x, x, x, mask, scale=1.0),
        lambda x: F.scaled_dot_product_attention(x, x, x, added, scale=1.0),
        lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True, scale=1.0),
        lambda x: (x @ x.mT).masked_fill_(~mask, -torch.inf).softmax(-1) @ x,
    )
    found = [relevance(run, x, given) for run in ways]
    for each in found:
        close(each, found[0], 1e-9)
    assert found[0].isfinite().all()
    # The last token is seen by itself alone.
    alone = relevance(ways[0], x, given * torch.tensor([1.0, 0, 0, 0])[:, None])
    assert not alone[:, 1:].any()


NORMS = {
    "rms": (
        lambda x: F.rms_norm(x, (6,), WEIGHT, 1e-6),
        lambda x: WEIGHT * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)),
    ),
    "rms of a square": (
        lambda x: F.rms_norm(x, (6,), WEIGHT, 1e-6),
        lambda x: x / ((x * x).mean(-1, keepdim=True) + 1e-6).sqrt() * WEIGHT,
    ),
    "layer norm": (
        lambda x: F.layer_norm(x, (6,), WEIGHT, None, 1e-6),
        lambda x: WEIGHT * (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt(),
    ),
    "centred first": (lambda x: F.layer_norm(x, (6,), WEIGHT, None, 1e-6), lambda x: centred_first(x)),
    "var_mean": (lambda x: F.layer_norm(x, (6,), WEIGHT, None, 1e-6), lambda x: of_both(x)),
    "unit length": (
        lambda x: F.normalize(x, dim=-1),
        lambda x: x / x.norm(dim=-1, keepdim=True).clamp(min=1e-12),
    ),
    "unit length by linalg": (
        lambda x: F.normalize(x, dim=-1),
        lambda x: x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).expand_as(x),
    ),
    "response": (lambda x: x + F.normalize(x, dim=-1), lambda x: torch.addcmul(x, x, 1 / x.norm(dim=-1, keepdim=True))),
}
WEIGHT = draw(6, seed=2)


def centred_first(x: Tensor) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    centred = x - mean
    return centred * (centred.square().mean(-1, keepdim=True) + 1e-6) ** -0.5 * WEIGHT


def of_both(x: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x, -1, unbiased=False, keepdim=True)
    return (x - mean) * torch.rsqrt(variance + 1e-6) * WEIGHT


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_by_hand_is_the_norm(name):
    x, given = draw(2, 4, 6), draw(2, 4, 6, seed=1)
    function, by_hand = NORMS[name]
    close(by_hand(x), function(x), 1e-9)
    close(relevance(by_hand, x, given), relevance(function, x, given), 1e-9)
    if name != "response":
        close(relevance(by_hand, x, given), given, 1e-9)


def test_relevance_of_a_product_is_shared_by_halves():
    x, given = draw(2, 4, 6), draw(2, 4, 3, seed=1)
    for run in (lambda x: x[..., :3] * x[..., 3:], lambda x: torch.einsum("ntk,ntk->ntk", *x.chunk(2, -1))):
        close(relevance(run, x, given), torch.cat((given, given), -1) / 2, 1e-9)
    gated = relevance(lambda x: F.silu(x[..., :3]) * x[..., 3:], x, given)  # SwiGLU
    close(gated, torch.cat((given, given), -1) / 2, 1e-9)
    close(relevance(lambda x: F.glu(x), x, given), F.pad(given, (0, 3)), 1e-9)


REFUSED = {
    "a norm added": (lambda x: x + x.norm(dim=-1, keepdim=True), "joins a map and a norm"),
    "a quotient of maps": (lambda x: x / (x.relu() + 1), "neither is a gate"),
    "an odd power": (lambda x: x.relu() ** 1.5, "no rule"),
    "addcmul in place": (lambda x: x.clone().addcmul_(x, x), "no rule"),
    "dropout": (lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.1), "without dropout"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_stays_without_a_rule_says_so(name):
    run, word = REFUSED[name]
    with pytest.raises(cc.CAMError, match=word):
        relevance(run, draw(2, 4, 6), draw(2, 4, 6, seed=1))
