"""A vision transformer of two blocks, and AttnLRP through it in dense sums, written from the papers."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DIM, HEADS, PATCH, CLASSES = 6, 2, 4, 3
HALF_EPSILON = 1e-6
"""ε of a product of two maps where the layers have z⁺."""


class Attention(nn.Module):
    """Attention in one of the ways that networks write it."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.packed = way, nn.MultiheadAttention(DIM, HEADS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "module":
            return self.packed(x, x, x, need_weights=False)[0]
        q, k, v = F.linear(x, self.packed.in_proj_weight, self.packed.in_proj_bias).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (q, k, v))
        scale = (DIM // HEADS) ** -0.5
        if self.way == "fused":
            mixed = F.scaled_dot_product_attention(q, k, v)
        elif self.way == "einsum":
            weights = torch.einsum("nhqd,nhkd->nhqk", q, k).mul(scale).softmax(-1)
            mixed = torch.einsum("nhqk,nhkd->nhqd", weights, v)
        elif self.way == "baddbmm":
            q, k, v = (part.flatten(0, 1) for part in (q, k, v))
            logits = torch.baddbmm(torch.zeros(len(q), q.shape[1], k.shape[1]).to(q), q, k.mT, beta=0, alpha=scale)
            mixed = torch.bmm(logits.softmax(-1), v).unflatten(0, (-1, HEADS))
        else:
            mixed = ((q * scale) @ k.transpose(-2, -1)).softmax(dim=-1) @ v
        return self.packed.out_proj(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, way: str) -> None:
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(DIM), Attention(way), nn.LayerNorm(DIM)
        self.up, self.down = nn.Linear(DIM, 10), nn.Linear(10, DIM)
        self.scale = nn.Parameter(torch.rand(DIM) + 0.5)  # a layer scale

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.scale * self.down(F.gelu(self.up(self.norm2(x))))


class TwoBlocks(nn.Module):
    """A class token, a position embedding, two blocks and a head."""

    def __init__(self, way: str = "unfused", size: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, DIM, PATCH, PATCH)
        self.token = nn.Parameter(torch.randn(1, 1, DIM))
        self.position = nn.Parameter(torch.randn(1, 1 + (size // PATCH) ** 2, DIM) / 2)
        self.blocks, self.norm = nn.Sequential(Block(way), Block(way)), nn.LayerNorm(DIM)
        self.head = nn.Linear(DIM, CLASSES)
        for module in self.modules():  # no value that PyTorch begins with is zero or one
            if isinstance(module, nn.LayerNorm):
                nn.init.normal_(module.bias, std=0.3)
                nn.init.uniform_(module.weight, 0.5, 1.5)
            if isinstance(module, nn.MultiheadAttention):
                nn.init.normal_(module.in_proj_bias)
                nn.init.normal_(module.in_proj_weight, std=0.8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(len(x), -1, -1), x), 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


class Reference:
    """Relevance of one sample, backwards through the operations of :class:`TwoBlocks` with all products kept.

    Args:
        net: the network, whose parameters are read.
        epsilon: None for z⁺ and zβ; otherwise ε of the ε-rule in every layer.
    """

    def __init__(self, net: TwoBlocks, epsilon: float | None = None) -> None:
        self.net, self.epsilon = net, epsilon

    def layer(self, x: Tensor, weight: Tensor, bias: Tensor, relevance: Tensor) -> Tensor:
        """T×I, O×I, O, T×O → T×I."""
        if self.epsilon is None:
            parts = x[:, None].clamp(min=0) * weight.clamp(min=0) + x[:, None].clamp(max=0) * weight.clamp(max=0)
            z = parts.sum(2)
        else:
            parts = x[:, None] * weight
            z = parts.sum(2) + bias
            z = z + self.epsilon * z.sign()
        return (parts * _quotient(relevance, z)[:, :, None]).sum(1)

    def half(self, a: Tensor, b: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
        """Q×J, J×K, Q×K → Q×J and J×K, half of the relevance each."""
        parts = a[:, :, None] * b[None]  # Q×J×K
        z = 2 * parts.sum(1)
        z = z + (HALF_EPSILON if self.epsilon is None else self.epsilon) * z.sign()
        shares = parts * _quotient(relevance, z)[:, None]
        return shares.sum(2), shares.sum(0)

    def block(self, block: Block, x: Tensor, live: Tensor):
        """Run a block forward on T×E and return its output and its way back; ``live`` is False at constant tokens."""
        attn, wide = block.attn.packed, DIM // HEADS
        normed = F.layer_norm(x, (DIM,), block.norm1.weight, block.norm1.bias)
        qkv = normed @ attn.in_proj_weight.T + attn.in_proj_bias
        heads = [[qkv[:, i * DIM + h * wide :][:, :wide] for i in range(3)] for h in range(HEADS)]
        logits = [q @ k.T / wide**0.5 for q, k, _ in heads]
        weights = [each.softmax(1) for each in logits]
        mixed = torch.cat([w @ v for w, (_, _, v) in zip(weights, heads, strict=True)], 1)
        added = mixed @ attn.out_proj.weight.T + attn.out_proj.bias
        middle = x + added
        second = F.layer_norm(middle, (DIM,), block.norm2.weight, block.norm2.bias)
        hidden = F.gelu(second @ block.up.weight.T + block.up.bias)
        behind = block.scale * (hidden @ block.down.weight.T + block.down.bias)

        def back(relevance: Tensor) -> Tensor:
            share = relevance * _quotient(behind, middle + behind)
            share = self.layer(hidden, block.down.weight, block.down.bias, share)
            share = self.layer(second, block.up.weight, block.up.bias, share)
            relevance = relevance * _quotient(middle, middle + behind) + share
            skipped = x * live[:, None]
            into = relevance * _quotient(added, skipped + added)
            into = self.layer(mixed, attn.out_proj.weight, attn.out_proj.bias, into)
            given = torch.zeros_like(qkv)
            for h, (q, k, v) in enumerate(heads):
                at_weights, at_v = self.half(weights[h], v, into[:, h * wide :][:, :wide])
                total = at_weights.sum(1, keepdim=True)
                at_q, at_k = self.half(q / wide**0.5, k.T, logits[h] * (at_weights - weights[h] * total))
                for i, part in enumerate((at_q, at_k.T, at_v)):
                    given[:, i * DIM + h * wide :][:, :wide] = part
            into = self.layer(normed * live[:, None], attn.in_proj_weight, attn.in_proj_bias, given)
            return relevance * _quotient(skipped, skipped + added) + into

        return middle + behind, back

    def pixels(self, image: Tensor, target: int) -> tuple[Tensor, Tensor]:
        """The relevance of C×H×W pixels and of the T×E tokens between the blocks."""
        net, rows = self.net, image.shape[1] // PATCH
        cut = [
            (slice(PATCH * i, PATCH * i + PATCH), slice(PATCH * j, PATCH * j + PATCH))
            for i in range(rows)
            for j in range(image.shape[2] // PATCH)
        ]
        patches = torch.stack([image[:, i, j].flatten() for i, j in cut])
        weight = net.patches.weight.flatten(1)
        x = torch.cat((net.token[0], patches @ weight.T + net.patches.bias)) + net.position[0]
        live = torch.ones(len(x), dtype=x.dtype)
        first, through_first = self.block(net.blocks[0], x, (torch.arange(len(x)) > 0).to(x))
        last, through_second = self.block(net.blocks[1], first, live)
        normed = F.layer_norm(last, (DIM,), net.norm.weight, net.norm.bias)
        output = normed[:1] @ net.head.weight.T + net.head.bias
        start = torch.zeros_like(output)
        start[0, target] = output[0, target]
        relevance = torch.zeros_like(last)
        relevance[:1] = self.layer(normed[:1], net.head.weight, net.head.bias, start)
        between = through_second(relevance)
        at_patches = through_first(between)[1:]
        above, below = patches - image.min(), patches - image.max()
        parts = above[:, None] * weight.clamp(min=0) + below[:, None] * weight.clamp(max=0)
        shares = (parts * _quotient(at_patches, parts.sum(2))[:, :, None]).sum(1)
        found = torch.zeros_like(image)
        for share, (i, j) in zip(shares, cut, strict=True):
            found[:, i, j] = share.reshape(3, PATCH, PATCH)
        return found, between


def _quotient(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(b == 0, torch.zeros_like(a), a / b)
