"""Read where the positions of an image are in a tensor, from how its axes follow the sides of the image."""

from dataclasses import dataclass

import torch
from torch import Tensor

MOST_PREFIX = 16
"""More tokens than this before the grid are no class, distillation and register tokens."""


class UnreadableError(Exception):
    """A tensor in which no axes, or several pairs of axes, follow the sides of the image."""


@dataclass(frozen=True)
class Grid:
    """Where the positions are.

    Args:
        kind: "channels first", "channels last", "tokens" (N×T×K) or "tokens last" (N×K×T).
        prefix: the number of tokens before the positions.
        size: h×w.
    """

    kind: str
    prefix: int
    size: tuple[int, int]

    def maps(self, tensor: Tensor) -> Tensor:
        """The values at the positions as N×K×h×w, a view of the tensor."""
        if self.kind == "channels first":
            return tensor
        if self.kind == "channels last":
            return tensor.permute(0, 3, 1, 2)
        last = tensor.transpose(1, 2) if self.kind == "tokens" else tensor
        return last[:, :, self.prefix :].unflatten(2, self.size)


def read(tensor: Tensor, sides: tuple[int, int], most: int = MOST_PREFIX) -> Grid:
    """Find the positions of an image H×W in a tensor.

    Args:
        tensor: what a module returned for a batch of images.
        sides: H×W. A square image has a square grid, any other image one whose sides have nearly its proportions.
        most: the largest number of prefix tokens to think of.

    Raises:
        UnreadableError: no axes follow the sides, or more than one reading is possible.
    """
    shape = tuple(tensor.shape)
    found = []
    if len(shape) == 4:
        found += [Grid("channels first", 0, shape[2:])] * similar(shape[2:], sides)
        found += [Grid("channels last", 0, shape[1:3])] * similar(shape[1:3], sides)
    if len(shape) == 3:
        for kind, tokens, channels in (("tokens", shape[1], shape[2]), ("tokens last", shape[2], shape[1])):
            size = largest(tokens, sides)
            prefix = tokens - size[0] * size[1]
            # One token alone, such as the class token, has as many values as channels, and no positions.
            found += [Grid(kind, prefix, size)] * (prefix <= most and min(size) > 1 and channels > 1)
        # The number of channels is often nearly a square, 128 or 256 or 96: then the image is a multiple of
        # one grid; if of both, the channels are last, as every Linear and LayerNorm has them.
        if len(found) == 2:
            found = [grid for grid in found if not sides[0] % grid.size[0]][:1]
    if len(found) != 1:
        raise UnreadableError(f"{'×'.join(map(str, shape))} can be read in {len(found)} ways")
    return found[0]


def similar(size: tuple[int, int], sides: tuple[int, int]) -> bool:
    """Whether a grid has the proportions of the image, up to one position of rounding on its shorter side."""
    (h, w), (height, width) = size, sides
    return min(h, w) > 1 and abs(h * width - w * height) <= (0 if height == width else max(height, width) - 1)


def largest(tokens: int, sides: tuple[int, int]) -> tuple[int, int]:
    """The largest grid with the proportions of the image that these tokens fill."""
    height, width = sides
    sizes = ((h, round(h * width / height)) for h in range(1, tokens + 1))
    return max((size for size in sizes if size[0] * size[1] <= tokens), default=(1, 1))


def distance(one: Tensor, other: Tensor) -> Tensor:
    """How far two maps N×K×h×w are apart at each position, N×h×w."""
    return torch.linalg.vector_norm((one - other).double(), dim=1)
