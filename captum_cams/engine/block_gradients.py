"""The gradient of the score that each block of a transformer would have if the head of the network followed it."""

from typing import Literal

import torch
from torch import Tensor

from captum_cams.engine.capture import Needs, Seen, capture
from captum_cams.engine.gradient import gradient_of
from captum_cams.engine.layers import Place, describe
from captum_cams.engine.layout import tokens
from captum_cams.engine.resume import Pace
from captum_cams.engine.self_attention import gradients_of
from captum_cams.engine.tap import Block
from captum_cams.errors import CAMError

Pooling = Literal["mean", "head"]
"""What the head reads of a block: the mean of all its tokens, or the tokens as they are."""


def block_gradients(seen: Seen, pooling: Pooling) -> list[Tensor]:
    """Compute how the attention of each block changes the score that the head gives to the tokens of this block.

    The head is all that follows the last block, such as the last norm, the pooling and the classifier.

    Args:
        seen: a run with attention.
        pooling: with "mean", each token that the head reads is the mean over the tokens of the block.

    Returns:
        The derivatives of these scores, N×heads×T×T for each block.

    Raises:
        CAMError: if the blocks of the network are not found, or the head alone gives another score than the network.
    """
    blocks = _blocks(seen)
    # All tokens count as the map, so that the layout keeps none of the last block's own.
    place = Place(blocks[-1].module, False, tokens(prefix=0, height=blocks[-1].tokens.shape[1]))
    resume = capture(seen.call, place, Needs(resume=Pace())).resume
    tails = [resume.tail(sample) for sample in range(seen.call.samples)]
    given = torch.stack([block.tokens.detach() for block in blocks], 1).requires_grad_()  # N×L×T×K
    with torch.enable_grad():
        read = given.mean(2, keepdim=True).expand_as(given) if pooling == "mean" else given
        maps = read.transpose(2, 3)[..., None]
        outputs = [tail(rows) for tail, rows in zip(tails, maps, strict=True)]
        scores = torch.stack([seen.call.score_of(output, sample) for sample, output in enumerate(outputs)])
        # In two steps, so that each gradient ends in its own block: the tokens of later blocks depend on it as well.
        at_tokens = gradient_of(scores, given, "the tokens of the blocks")
    pairs = zip(seen.attention.blocks, blocks, at_tokens.unbind(1), strict=True)
    return [gradients_of(block.tokens, [attention], gradient)[0] for attention, block, gradient in pairs]


def _blocks(seen: Seen) -> list[Block]:
    """The blocks of a transformer: modules of one class, each of which reads what the one before it returned."""
    attention = seen.attention.blocks
    found = [one.block for one in attention if one.block is not None]
    alike = len({type(block.module) for block in found}) == 1
    if len(found) == len(attention) > 1 and alike and all(block.follows for block in found):
        return found
    name = next((describe(seen.call.network, one.module) for one in attention if one.module is not None), "no module")
    raise CAMError(
        "LeGrad needs at least two blocks of one class, each with one attention, that pass tokens N×T×K on to each "
        f"other, got {len(attention)} attentions (the first in {name}) without such blocks; use Chefer"
    )
