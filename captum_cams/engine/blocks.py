"""The blocks of a transformer that are shown on one map: all of them, or those of the last stage."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_cams.engine.capture import Seen
from captum_cams.engine.layers import describe
from captum_cams.engine.proofs import proven_layout
from captum_cams.engine.self_attention import token_positions
from captum_cams.engine.tap import Attention, Block
from captum_cams.engine.window_attention import in_place, window_places
from captum_cams.errors import CAMError


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks with one attention each, the first block first; all have the same tokens."""

    attention: Sequence[Attention]
    blocks: Sequence[Block]
    positions: Tensor
    """h×w, the token of a block at each position of the map."""
    windows: Sequence[Tensor]
    """For each block, the places of the tokens of its windows, :func:`window_places`. Empty if there are no windows."""

    @classmethod
    def of(cls, seen: Seen) -> "Blocks":
        """Find the blocks of a transformer: modules of one class, each of which reads what the one before it returned.

        Args:
            seen: a run with attention.

        Returns:
            All blocks. If attention is over windows of a map, the blocks whose map is as large as that of the last one.

        Raises:
            CAMError: if they are not found, if attention is changed between the softmax and the values, or if windows
                cannot be put back in place.
        """
        recorded = seen.tap.attention
        windowed = not seen.tap.changed and any(attention.windowed for attention in recorded)
        attention = _last_stage(recorded) if windowed else seen.attention.blocks
        blocks = [one.block for one in attention if one.block is not None]
        alike = len({type(block.module) for block in blocks}) == 1
        # The first block of a stage reads what the stage before it gave.
        follow = all(block.follows for block in blocks[int(windowed) :])
        tokens = windowed or all(block.tokens.ndim == 3 for block in blocks)
        if not (len(blocks) == len(attention) > 1 and alike and follow and tokens):
            raise _not_found(seen, recorded)
        if not windowed:
            return cls(attention, blocks, seen.attention.positions, ())
        shape = blocks[-1].tokens.shape
        layout = seen.place.layout or proven_layout(seen.call, blocks[-1].module, False, tuple(shape))
        positions = token_positions(layout, shape[1:-1], seen.activation)
        return cls(attention, blocks, positions, [_places(seen, one) for one in attention])

    def on_map(self, values: Sequence[Tensor]) -> Tensor:
        """Put the values of each block, one for each key of its attention, on the map.

        Args:
            values: N×T for each block, or R×T for its R windows.

        Returns:
            N×L×h×w for L blocks.
        """
        if self.windows:
            count = self.positions.numel()
            values = [in_place(each, places, count) for each, places in zip(values, self.windows, strict=True)]
        return torch.stack([each[:, self.positions] for each in values], 1)


def _last_stage(recorded: Sequence[Attention]) -> Sequence[Attention]:
    """The attention at the end whose blocks have maps of one size; nothing if other parts have that size as well."""
    sizes = [None if attention.block is None else attention.block.tokens.shape for attention in recorded]
    count = sizes.count(sizes[-1])
    return () if None in sizes or set(sizes[-count:]) != {sizes[-1]} else recorded[-count:]


def _places(seen: Seen, attention: Attention) -> Tensor:
    places = window_places(attention, seen.call.samples)
    if places is None:
        raise CAMError(
            "attention inside windows must read each token of the map once, unchanged, and no two alike, got others in "
            f"{_called(seen, attention)}; use a method of the layer, such as Grad-CAM"
        )
    return places


def _not_found(seen: Seen, recorded: Sequence[Attention]) -> CAMError:
    return CAMError(
        "LeGrad needs at least two blocks of one class, each with one attention, that pass tokens N×T×K on to each "
        f"other (the last blocks N×h×w×K or N×T×K, if attention is over windows), got {len(recorded)} attentions (the "
        f"first in {_called(seen, recorded[0])}) without such blocks; use Chefer, or for windows Grad-CAM"
    )


def _called(seen: Seen, attention: Attention) -> str:
    return "no module" if attention.module is None else describe(seen.call.network, attention.module)
