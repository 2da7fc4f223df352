"""Where the tokens of windows belong, against each library's own shift and partition of the numbers of positions."""

import pytest
import timm
import torch
import torch.nn.functional as F
import transformers
from timm.models.swin_transformer import window_partition
from torch import Tensor, nn
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2

from captum_cams.engine.tap import tapped
from captum_cams.engine.window_attention import in_place, window_places
from tests.support.networks import seeded

SIZE = {"depths": [2, 2], "num_heads": [2, 4]}
V2 = {"block": SwinTransformerBlockV2, "downsample_layer": PatchMergingV2}
TIMM = {"img_size": 32, "embed_dim": 12, "num_classes": 5, **SIZE}
CONFIG = {"image_size": 32, "embed_dim": 12, "num_labels": 5, **SIZE}
NETWORKS = {
    "torchvision": lambda side: SwinTransformer([4, 4], 12, *SIZE.values(), [side] * 2, num_classes=5),
    "torchvision v2": lambda side: SwinTransformer([4, 4], 12, *SIZE.values(), [side] * 2, num_classes=5, **V2),
    "timm": lambda side: timm.models.SwinTransformer(window_size=side, **TIMM),
    "timm v2": lambda side: timm.models.SwinTransformerV2(window_size=side, **TIMM),
    "transformers": lambda side: transformers.SwinForImageClassification(
        transformers.SwinConfig(window_size=side, **CONFIG)
    ),
    "transformers v2": lambda side: transformers.Swinv2ForImageClassification(
        transformers.Swinv2Config(window_size=side, **CONFIG)
    ),
}


def pair(value) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def own_places(name: str, block: nn.Module, size: tuple[int, int]) -> Tensor:
    """The numbers of the positions through shift, padding and partition; the number behind the last one is padding."""
    settings = block.attn if name.startswith("torchvision") else block
    window, shift = pair(settings.window_size), list(pair(settings.shift_size))
    numbers = torch.arange(size[0] * size[1], dtype=torch.float).view(1, *size, 1)
    above = (0, 0, 0, -size[1] % window[1], 0, -size[0] % window[0])
    moves = [lambda x: F.pad(x, above, value=float(size[0] * size[1])), lambda x: x.roll([-s for s in shift], (1, 2))]
    if name.startswith("torchvision"):
        padded = [side + more for side, more in zip(size, (above[5], above[3]), strict=True)]
        shift = [0 if w >= side else s for s, w, side in zip(shift, window, padded, strict=True)]
    for move in reversed(moves) if name.startswith("timm") else moves:
        numbers = move(numbers)
    return window_partition(numbers, window).flatten().long()


@pytest.mark.parametrize("side", [3, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_each_token_of_a_window_is_found(name, side):
    model = seeded(lambda: NETWORKS[name](side))
    with torch.no_grad(), tapped(list(model.modules())) as tap:
        model(torch.rand(2, 3, 32, 32))
    assert len(tap.attention) == 4
    for place, attention in enumerate(tap.attention):
        size = (8, 8) if place < 2 else (4, 4)
        places = window_places(attention, 2)
        assert torch.equal(places, own_places(name, attention.block.module, size))
        values = torch.rand(2, len(places), dtype=torch.float64)
        placed = in_place(values.view(attention.weights.shape[0], -1), places, size[0] * size[1])
        for number, value in zip(places.tolist(), values.T, strict=True):
            assert number == size[0] * size[1] or torch.equal(placed[:, number], value)
