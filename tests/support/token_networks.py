"""Small transformers: attention by a module and by a function, class and register tokens, windows, maps N×h×w×K."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_cams.engine.layout import CHANNELS_LAST, Layout, tokens
from tests.support.networks import seeded

K, HEADS, CLASSES = 8, 2, 10


class Packed(nn.Module):
    """Attention as torchvision's ViT has it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(K, HEADS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x, x, need_weights=False)[0]


def written_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | float = 0.0) -> Tensor:
    return (q @ k.mT / q.shape[-1] ** 0.5 + bias).softmax(-1) @ v


class Fused(nn.Module):
    """Attention as timm has it; ``fused`` False writes the same with a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj, self.fused = nn.Linear(K, 3 * K), nn.Linear(K, K), True

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, HEADS, K // HEADS)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention if self.fused else written_attention
        x = attended(q, k, v)
        return self.proj(x.transpose(1, 2).flatten(2))


def written_out(model: nn.Module) -> nn.Module:
    """The same network with every attention written with a softmax."""
    for name, module in [*model.named_modules()]:
        if isinstance(module, Packed):
            written = Fused().to(module.inner.in_proj_weight)
            written.qkv.weight, written.qkv.bias = module.inner.in_proj_weight, module.inner.in_proj_bias
            written.proj = module.inner.out_proj
            model.set_submodule(name, written)
    for module in model.modules():
        if isinstance(module, Fused):
            module.fused = False
    return model.eval()


class Windows(nn.Module):
    """Attention inside windows of 4×4 positions, moved by ``shift``, with a bias for each pair, as Swin has it."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self.inner, self.shift = Fused(), shift
        self.bias = nn.Parameter(torch.randn(16, 16))

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, _ = x.shape
        x = x.roll((-self.shift, -self.shift), (1, 2))
        x = x.view(n, h // 4, 4, w // 4, 4, K).transpose(2, 3).reshape(-1, 16, K)
        q, k, v = self.inner.qkv(x).unflatten(2, (3, HEADS, K // HEADS)).permute(2, 0, 3, 1, 4)
        x = written_attention(q, k, v, self.bias)
        x = self.inner.proj(x.transpose(1, 2).flatten(2))
        x = x.view(n, h // 4, w // 4, 4, 4, K).transpose(2, 3).reshape(n, h, w, K)
        return x.roll((self.shift, self.shift), (1, 2))


class Block(nn.Module):
    """A block with the norms first, as all of these have it."""

    def __init__(self, attention: nn.Module, norm: type[nn.Module] = nn.LayerNorm) -> None:
        super().__init__()
        self.norm1, self.attention, self.norm2 = norm(K), attention, norm(K)
        self.mlp = nn.Sequential(nn.Linear(K, 2 * K), nn.GELU(), nn.Linear(2 * K, K))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ClassToken(nn.Module):
    """Reads the class token; the grid is 5×5."""

    def __init__(self, attention: type[nn.Module] = Packed) -> None:
        super().__init__()
        self.stem, self.prefix = nn.Conv2d(3, K, 8, 8), nn.Parameter(torch.randn(1, 1, K))
        self.places = nn.Parameter(torch.randn(1, 26, K))
        self.blocks = nn.Sequential(*(Block(attention()) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(K), nn.Linear(K, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).mT
        x = torch.cat((self.prefix.expand(len(x), -1, -1), x), 1) + self.places
        return self.head(self.norm(self.blocks(x))[:, 0])


class Registers(nn.Module):
    """Averages the tokens of the grid, 5×4 for half of each image; a class token and two registers come before them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.prefix = nn.Conv2d(3, K, (8, 10), (8, 10)), nn.Parameter(torch.randn(1, 3, K))
        self.blocks = nn.Sequential(*(Block(Fused(), nn.RMSNorm) for _ in range(2)))
        self.norm, self.head = nn.RMSNorm(K), nn.Linear(K, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat((self.prefix.expand(len(x), -1, -1), self.stem(x).flatten(2).mT), 1)
        return self.head(self.norm(self.blocks(x))[:, 3:].mean(1))


class WindowTokens(nn.Module):
    """Maps N×h×w×K of 8×8 positions from end to end, their mean at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, K, 5, 5)
        self.blocks = nn.Sequential(*(Block(Windows(shift)) for shift in (0, 2)))
        self.norm, self.head = nn.LayerNorm(K), nn.Linear(K, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.stem(x).movedim(1, 3))).mean((1, 2)))


class AsMap(nn.Module):
    """A layer whose tokens pass a module as a map N×K×h×w and become tokens again, so that plain hooks can see it."""

    def __init__(self, layer: nn.Module, prefix: int, size: tuple[int, int] | None) -> None:
        super().__init__()
        self.layer, self.map, self.prefix, self.size = layer, nn.Identity(), prefix, size

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        if self.size is None:
            return self.map(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        seen = self.map(x[:, self.prefix :].permute(0, 2, 1).unflatten(2, self.size))
        return torch.cat((x[:, : self.prefix], seen.flatten(2).permute(0, 2, 1)), 1)


@dataclass(frozen=True)
class Explained:
    """A transformer, the layer to explain, and its layout.

    Args:
        build: makes the network.
        layer: the dotted name of the layer.
        reshape: the layout.
        prefix: the number of tokens before the grid.
        size: h and w of the grid; None for maps N×h×w×K.
    """

    build: type[nn.Module]
    layer: str
    reshape: Layout
    prefix: int = 0
    size: tuple[int, int] | None = None

    def model(self) -> nn.Module:
        return seeded(self.build)

    def with_map(self) -> tuple[nn.Module, str]:
        """The same network with a module that gives the layer's map, and the name of that module."""
        model = self.model()
        model.set_submodule(self.layer, AsMap(model.get_submodule(self.layer), self.prefix, self.size).eval())
        return model, f"{self.layer}.map"


BEFORE_ATTENTION, LAST_NORM = "blocks.1.norm1", "norm"
TRANSFORMERS = {
    "class token": Explained(ClassToken, BEFORE_ATTENTION, tokens(), 1, (5, 5)),
    "registers": Explained(Registers, LAST_NORM, tokens(3, height=5), 3, (5, 4)),
    "registers, before attention": Explained(Registers, BEFORE_ATTENTION, tokens(3, height=5), 3, (5, 4)),
    "windows": Explained(WindowTokens, LAST_NORM, CHANNELS_LAST),
    "windows, before attention": Explained(WindowTokens, BEFORE_ATTENTION, CHANNELS_LAST),
}
