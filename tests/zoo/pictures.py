"""The images that a network of the zoo is shown."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALL = 160
"""Networks that take any size get this one; it saves time, and a stride of 32 leaves 5×5 positions."""


def pictures(count: int, sides: tuple[int, int], seed: int = 0) -> Tensor:
    """Images N×3×H×W of coloured clouds with some noise, all different everywhere."""
    generator = torch.Generator().manual_seed(seed)
    clouds = F.interpolate(torch.randn(count, 3, 8, 8, generator=generator), sides, mode="bilinear")
    return clouds + 0.3 * torch.randn(count, 3, *sides, generator=generator)


def own_side(model: nn.Module) -> int:
    """The side of the square images that the network was made for."""
    timms = getattr(model, "default_cfg", None)
    if timms:
        return int(timms["input_size"][1])
    config = getattr(model, "config", None)
    if config is not None:
        side = getattr(getattr(config, "vision_config", config), "image_size", None)
        return int(side[0] if isinstance(side, list | tuple) else side or 224)
    return int(getattr(model, "image_size", 224))


def takes(model: nn.Module, sides: tuple[int, int]) -> bool:
    """Whether the network runs on images of this size."""
    try:
        with torch.no_grad():
            model(pictures(1, sides))
    except (RuntimeError, ValueError, AssertionError, IndexError, TypeError):
        return False
    return True


def square_side(model: nn.Module) -> int:
    """The smallest side that the zoo shows to this network: the small one if it takes it, otherwise its own."""
    own = own_side(model)
    return SMALL if own > SMALL and takes(model, (SMALL, SMALL)) else own


def oblong_sides(model: nn.Module, side: int) -> tuple[int, int] | None:
    """H×W of an image that is not square, if the network takes one."""
    sides = (side, side * 3 // 2 // 32 * 32)
    return sides if takes(model, sides) else None
