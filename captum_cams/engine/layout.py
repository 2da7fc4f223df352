"""Convert the output of a layer that is not N×K×h×w, such as tokens, to a map and back."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import isqrt, prod
from typing import Any, Literal

import torch
from torch import Tensor

from captum_cams.errors import CAMError, check_choice, shape_of


@dataclass(frozen=True)
class Layout:
    """The conversion between a layer's output and a map N×K×h×w.

    Args:
        to_map: takes the layer's output and rearranges its values to N×K×h×w.
        to_layer: takes a map R×K×h×w and the layer's own output for the sample, 1×…, and returns what the layer
            would return for that map. Methods that modify activations need it.

    Example::

        channels_last = cc.Layout(lambda output: output.permute(0, 3, 1, 2))
        print(channels_last.to_map(torch.rand(2, 7, 7, 64)).shape)
    """

    to_map: Callable[[Tensor], Tensor]
    to_layer: Callable[[Tensor, Tensor], Tensor] | None = None

    def replaced(self, maps: Tensor, original: Tensor) -> Tensor:
        """Convert maps back to the output of the layer.

        Args:
            maps: R×K×h×w.
            original: the layer's own output for the sample, 1×….

        Raises:
            CAMError: if the layout has no ``to_layer``.
        """
        if self.to_layer is None:
            raise CAMError(
                "a method that modifies activations must convert a map back to the layer's output, got no to_layer; "
                "pass reshape=Layout(to_map, to_layer)"
            )
        return self.to_layer(maps, original)


def tokens(prefix: int = 1, height: int | None = None) -> Layout:
    """Make the layout of a transformer such as ViT, whose tokens N×T×K form a grid N×K×h×w.

    Args:
        prefix: the number of tokens before the grid, such as the class token. They are left out of the map.
        height: the height h of the grid; None means a square grid.

    Returns:
        The layout.

    Raises:
        CAMError: when the layout is used, if the output is not N×T×K or its tokens do not fill the grid.

    Example::

        print(cc.tokens().to_map(torch.rand(2, 1 + 14 * 14, 192)).shape)
    """

    def to_map(output: Tensor) -> Tensor:
        count = output.shape[1] - prefix if output.ndim == 3 else 0
        h = height or isqrt(max(count, 1))
        if count < 1 or count % h or (height is None and h * h != count):
            raise CAMError(
                f"tokens must be N×(prefix + h·w)×K with prefix = {prefix}, got {shape_of(output)}; "
                "pass reshape=tokens(prefix, height)"
            )
        return output[:, prefix:].transpose(1, 2).unflatten(2, (h, count // h))

    return Layout(to_map, partial(_to_tokens, prefix))


def token_grid(prefix: int, size: tuple[int, ...], suffix: int = 0) -> Layout:
    """Make the layout of tokens N×(prefix + h·w + suffix)×K on a grid of a known size, of one to three dimensions.

    Args:
        prefix: the number of tokens before the grid.
        size: the size of the grid.
        suffix: the number of tokens after the grid.

    Raises:
        CAMError: when the layout is used, if the output is not such tokens.
    """
    count = prod(size)

    def to_map(output: Tensor) -> Tensor:
        if output.ndim != 3 or output.shape[1] != prefix + count + suffix:
            raise CAMError(
                f"tokens must be N×({prefix} + {count} + {suffix})×K, got {shape_of(output)}; "
                "pass reshape=tokens(prefix, height)"
            )
        return output[:, prefix : prefix + count].transpose(1, 2).unflatten(2, size)

    return Layout(to_map, partial(_to_tokens, prefix))


def _to_tokens(prefix: int, maps: Tensor, original: Tensor) -> Tensor:
    """Put maps back in place of the grid; the tokens around it are those of the layer's own output."""
    kept = original.expand(maps.shape[0], -1, -1)  # len() would fix the number of samples in an export
    grid = maps.to(kept.dtype).flatten(2).transpose(1, 2)
    return torch.cat((kept[:, :prefix], grid, kept[:, prefix + grid.shape[1] :]), 1)


CHANNELS_LAST = Layout(lambda output: output.movedim(-1, 1), lambda maps, original: maps.movedim(1, -1))
"""The layout of outputs N×h×w×K, whose last axis holds the channels, as in Swin."""

NamedLayout = Literal["tokens", "channels_last"]
Reshape = NamedLayout | Layout | Callable[[Tensor], Tensor] | None
"""What users pass as ``reshape``."""

NAMED: dict[NamedLayout, Layout] = {"tokens": tokens(), "channels_last": CHANNELS_LAST}


def as_layout(reshape: Any) -> Layout | None:
    """Read the argument ``reshape``.

    Args:
        reshape: None, a :class:`Layout`, the name of one of the ready layouts, or a function ``to_map``.

    Returns:
        The layout; None if the output already is a map.

    Raises:
        CAMError: if ``reshape`` is anything else.
    """
    if reshape is None or isinstance(reshape, Layout):
        return reshape
    if callable(reshape):
        return Layout(reshape)
    check_choice("reshape", reshape, NamedLayout)
    return NAMED[reshape]
