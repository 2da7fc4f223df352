"""Attention methods against their papers' formulas, with matrices of all tokens and a transformer written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import captum_cams as cc
from tests.support.networks import images
from tests.support.vit import LAYER, PATCHES, WAYS, small_vit

TARGET = [3, 7]


def written_out(model: nn.Module, x: Tensor, sample: int) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """One sample through the transformer, head by head: attention and tokens of each block, and the scores."""
    z = model.patches(x[sample : sample + 1])[0].flatten(1).T
    z = z if model.cls is None else torch.cat((model.cls[0], z))
    z = z + model.position[0]
    attention, tokens = [], []
    for block in model.blocks:
        heads, width = block.attn.num_heads, z.shape[1]
        size = width // heads
        y = block.norm1(z)
        mixed, weights = [], []
        for head in range(heads):
            parts = [slice(part * width + head * size, part * width + (head + 1) * size) for part in range(3)]
            q, k, v = (y @ block.attn.in_proj_weight[part].T + block.attn.in_proj_bias[part] for part in parts)
            scores = q @ k.T / size**0.5
            weights.append(scores.exp() / scores.exp().sum(1, keepdim=True))
            mixed.append(weights[-1] @ v)
        z = z + block.attn.out_proj(torch.cat(mixed, 1))
        z = z + block.fc2(F.gelu(block.fc1(block.norm2(z))))
        attention.append(weights)
        tokens.append(z)
    return attention, tokens, head_of(model, z)


def head_of(model: nn.Module, z: Tensor) -> Tensor:
    z = model.norm(z)
    return model.fc(z[0] if model.cls is not None else z.mean(0))


def row_of_the_head(model: nn.Module, matrix: Tensor) -> Tensor:
    patches = matrix[0, 1:] if model.cls is not None else matrix.mean(0)
    return patches.view(1, PATCHES, PATCHES)


def rollout(model, x, sample, fuse):
    attention = written_out(model, x, sample)[0]
    product = torch.eye(len(attention[0][0]), dtype=torch.float64)
    for weights in attention:
        fused = fuse(torch.stack(weights)) + torch.eye(len(product))
        product = (fused / fused.sum(1, keepdim=True)) @ product
    return row_of_the_head(model, product.detach())


def chefer(model, x, sample):
    attention, _, scores = written_out(model, x, sample)
    flat = [weights for block in attention for weights in block]
    gradients = iter(torch.autograd.grad(scores[TARGET[sample]], flat))
    identity = torch.eye(len(flat[0]), dtype=torch.float64)
    relevance = identity
    for block in attention:
        cam = torch.stack([(next(gradients) * weights).relu() for weights in block]).mean(0)
        relevance = relevance + cam @ relevance
    return row_of_the_head(model, relevance.detach() - identity)


def legrad(model, x, sample, mean):
    attention, tokens, _ = written_out(model, x, sample)
    total = torch.zeros(len(attention[0][0]), dtype=torch.float64)
    for block, z in zip(attention, tokens, strict=True):
        score = head_of(model, z.mean(0).expand_as(z) if mean else z)[TARGET[sample]]
        gradients = torch.autograd.grad(score, block, retain_graph=True)
        total += torch.stack([gradient.relu().mean(0) for gradient in gradients]).mean(0)
    return row_of_the_head(model, total.expand(len(total), -1) / len(attention))


def reciprocam(model, x, sample, windows):
    """The last block again, for each patch alone behind its first norm."""
    z = written_out(model, x, sample)[1][1]
    block, prefix = model.blocks[2], int(model.cls is not None)
    scores = torch.zeros(PATCHES, PATCHES, dtype=torch.float64)
    weight = {0: 2, 1: 1, -1: 1}
    for i in range(PATCHES):
        for j in range(PATCHES):
            mask = torch.zeros(PATCHES, PATCHES, dtype=torch.float64)
            for di in (-1, 0, 1) if windows else (0,):
                for dj in (-1, 0, 1) if windows else (0,):
                    if 0 <= i + di < PATCHES and 0 <= j + dj < PATCHES:
                        mask[i + di, j + dj] = weight[di] * weight[dj] / 16 if windows else 1
            kept = torch.cat((torch.ones(prefix, dtype=torch.float64), mask.flatten()))
            after = z + block.attended(block.norm1(z)[None] * kept[None, :, None])[0]
            after = after + block.fc2(F.gelu(block.fc1(block.norm2(after))))
            scores[i, j] = head_of(model, after)[TARGET[sample]]
    return ((scores - scores.min()) / (scores.max() - scores.min())).detach()[None]


FORMULAS = {
    "attentionrollout": ({}, lambda *run: rollout(*run, lambda heads: heads.mean(0))),
    "attentionrollout max": ({"head_fusion": "max"}, lambda *run: rollout(*run, lambda heads: heads.amax(0))),
    "attentionrollout min": ({"head_fusion": "min"}, lambda *run: rollout(*run, lambda heads: heads.amin(0))),
    "chefer": ({}, chefer),
    "legrad": ({}, lambda *run: legrad(*run, True)),
    "legrad head": ({"pooling": "head"}, lambda *run: legrad(*run, False)),
    "vitreciprocam": ({}, lambda *run: reciprocam(*run, True)),
    "vitreciprocam alone": ({"gaussian": False}, lambda *run: reciprocam(*run, False)),
}


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FORMULAS)
def test_the_map_is_that_of_the_formula(name, way, token):
    model, x = small_vit(way, token).double(), images(2).double()
    options, formula = FORMULAS[name]
    maps = cc.create(name.split()[0], model, LAYER, reshape=cc.tokens(int(token)), **options).attribute(x, TARGET)
    expected = torch.stack([formula(model, x, sample) for sample in range(2)])
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("gaussian", [True, False])
def test_vit_recipro_cam_is_recipro_cam_where_tokens_are_the_map(gaussian):
    model, x = small_vit(), images(2)
    found = cc.ViTReciproCAM(model, LAYER, reshape="tokens", gaussian=gaussian).attribute(x, TARGET)
    assert torch.equal(found, cc.ReciproCAM(model, LAYER, reshape="tokens", gaussian=gaussian).attribute(x, TARGET))


class Pooled(nn.Module):
    """A head that reads all tokens by an attention of its own, with one query."""

    def __init__(self) -> None:
        super().__init__()
        self.body = small_vit("fused", token=False)
        self.body.fc = nn.Identity()
        self.query = nn.Parameter(torch.ones(1, 1, 12))
        self.pool, self.fc = nn.MultiheadAttention(12, 2, batch_first=True), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        body = self.body
        z = body.norm(body.blocks(body.patches(x).flatten(2).transpose(1, 2) + body.position))
        return self.fc(self.pool(self.query.expand(len(x), -1, -1), z, z)[0][:, 0])


def test_attention_that_pools_is_the_last_factor():
    torch.manual_seed(0)
    model, x = Pooled().eval().double(), images(2).double()
    seen = {}

    def keep(module, args, kwargs, output):
        seen["row"] = output[1]

    handle = model.pool.register_forward_hook(keep, with_kwargs=True)
    model(x)
    handle.remove()
    maps = cc.AttentionRollout(model, "body.blocks.2.norm1", reshape=cc.tokens(0)).attribute(x)
    for sample in range(2):
        product = torch.eye(PATCHES**2, dtype=torch.float64)
        for weights in written_out(model.body, x, sample)[0]:
            fused = torch.stack(weights).mean(0) + torch.eye(PATCHES**2)
            product = fused / 2 @ product
        expected = (seen["row"][sample] @ product).view(1, PATCHES, PATCHES).detach()
        torch.testing.assert_close(maps[sample], expected, rtol=1e-9, atol=0)
    for name in ("chefer", "legrad"):
        other = cc.create(name, model, "body.blocks.2.norm1", reshape=cc.tokens(0)).attribute(x, TARGET)
        assert bool((other.flatten(1).std(1) > 0).all())
