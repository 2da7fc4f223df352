"""Relevance through attention: against dense sums, in every way of writing it, and against gradients."""

import pytest
import torch
from torch import Tensor

import captum_cams as cc
from tests.support.attention import Reference, TwoBlocks
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


@pytest.mark.parametrize("way", ["fused", "module", "einsum", "bmm"])
@pytest.mark.parametrize("name", ["lrp", "clrp", "sglrp", "fgcam", "relevancecam"])
def test_every_way_of_writing_attention_gives_one_map(way, name):
    if way == "bmm":
        pytest.skip("")
    options = {} if name in ("lrp", "clrp", "sglrp") else {"layer": "blocks.1.norm1", "reshape": "tokens"}
    x = images(2)
    found, expected = (cc.create(name, net(each), **options).contributions(x, 1) for each in (way, "unfused"))
    close(found, expected)
