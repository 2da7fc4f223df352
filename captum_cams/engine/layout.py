"""How the output of a layer that is no convolution becomes a map N×K×h×w, and back."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from typing import Any, Literal

import torch
from torch import Tensor

from captum_cams.errors import CAMError, check_choice, shape_of


@dataclass(frozen=True)
class Layout:
    """A way from a layer's output to a map and back.

    Args:
        to_map: the layer's output to N×K×h×w, a rearrangement of its values.
        to_layer: a map R×K×h×w and the layer's own output for the sample, 1×…, to what the layer would return; for
            methods that switch activations.
    """

    to_map: Callable[[Tensor], Tensor]
    to_layer: Callable[[Tensor, Tensor], Tensor] | None = None

    def replaced(self, maps: Tensor, original: Tensor) -> Tensor:
        """What the layer would return with these maps.

        Raises:
            CAMError: there is no way back.
        """
        if self.to_layer is None:
            raise CAMError(
                "a method that switches activations needs the way from a map back to the layer's output; "
                "pass reshape=Layout(to_map, to_layer)"
            )
        return self.to_layer(maps, original)


def tokens(prefix: int = 1, height: int | None = None) -> Layout:
    """Tokens N×T×K, as in ViT, on a grid N×K×h×w; ``prefix`` tokens (of the class) come first and are left out.

    Args:
        prefix: tokens before those of the grid.
        height: rows of the grid; None is a square grid.

    Raises:
        CAMError: in use, if the output is not N×T×K or its tokens fill no grid.
    """

    def to_map(output: Tensor) -> Tensor:
        count = output.shape[1] - prefix if output.ndim == 3 else 0
        rows = height or isqrt(max(count, 1))
        if count < 1 or count % rows or (height is None and rows * rows != count):
            raise CAMError(
                f"tokens must be N×(prefix + h·w)×K with prefix = {prefix}, got {shape_of(output)}; "
                "pass reshape=tokens(prefix, height)"
            )
        return output[:, prefix:].transpose(1, 2).unflatten(2, (rows, count // rows))

    def to_layer(maps: Tensor, original: Tensor) -> Tensor:
        kept = original[:, :prefix].expand(len(maps), -1, -1)
        return torch.cat((kept, maps.to(kept.dtype).flatten(2).transpose(1, 2)), 1)

    return Layout(to_map, to_layer)


CHANNELS_LAST = Layout(lambda output: output.movedim(-1, 1), lambda maps, original: maps.movedim(1, -1))
"""Channels behind the positions, N×h×w×K, as in Swin."""

NamedLayout = Literal["tokens", "channels_last"]

NAMED: dict[NamedLayout, Layout] = {"tokens": tokens(), "channels_last": CHANNELS_LAST}


def as_layout(reshape: Any) -> Layout | None:
    """None, a :class:`Layout`, a function for one without a way back, or the name of a ready one.

    Raises:
        CAMError: anything else.
    """
    if reshape is None or isinstance(reshape, Layout):
        return reshape
    if callable(reshape):
        return Layout(reshape)
    check_choice("reshape", reshape, NamedLayout)
    return NAMED[reshape]
