"""A small vision transformer whose attention is written in each of the ways that networks use."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.support.networks import seeded

Way = Literal["packed", "fused", "by hand"]
WAYS: tuple[Way, ...] = ("packed", "fused", "by hand")
LAYER = "blocks.2.norm1"
"""The first norm of the last block: behind it, patches are read by the class token alone."""
PATCHES = 5
"""Patches in each direction of an image of 40×40 pixels."""


class Block(nn.Module):
    """Its parameters have the same names in every way of writing attention."""

    def __init__(self, width: int, heads: int, way: Way) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.fc1, self.fc2, self.way = nn.Linear(width, 2 * width), nn.Linear(2 * width, width), way

    def attended(self, x: Tensor) -> Tensor:
        if self.way == "packed":
            return self.attn(x, x, x, need_weights=False)[0]
        qkv = F.linear(x, self.attn.in_proj_weight, self.attn.in_proj_bias)
        q, k, v = qkv.unflatten(-1, (3, self.attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
        if self.way == "fused":
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            weights = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
            mixed = F.dropout(weights, 0.1, self.training) @ v
        return self.attn.out_proj(mixed.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attended(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class SmallViT(nn.Module):
    """Three blocks of two heads. The head reads the class token, or the mean of the patches if there is none."""

    def __init__(self, way: Way = "packed", token: bool = True, width: int = 12) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.cls = nn.Parameter(torch.randn(1, 1, width)) if token else None
        self.position = nn.Parameter(torch.randn(1, PATCHES**2 + token, width))
        self.blocks = nn.Sequential(*(Block(width, 2, way) for _ in range(3)))
        self.norm, self.fc = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        if self.cls is not None:
            x = torch.cat((self.cls.expand(len(x), -1, -1), x), 1)
        x = self.norm(self.blocks(x + self.position))
        return self.fc(x[:, 0] if self.cls is not None else x.mean(1))


def small_vit(way: Way = "packed", token: bool = True) -> nn.Module:
    """A seeded transformer in eval mode, with the same weights for every way of writing attention."""
    return seeded(lambda: SmallViT(way, token))
