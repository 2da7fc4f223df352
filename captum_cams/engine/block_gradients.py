"""The gradient of the score that each block of a transformer would have if the head of the network followed it."""

from typing import Literal

import torch
from torch import Tensor

from captum_cams.engine.blocks import Blocks
from captum_cams.engine.capture import Needs, Seen, capture
from captum_cams.engine.gradient import gradient_of
from captum_cams.engine.layers import Place
from captum_cams.engine.layout import Layout
from captum_cams.engine.resume import Pace
from captum_cams.engine.self_attention import gradients_of

Pooling = Literal["mean", "head"]
"""What the head reads of a block: the mean of all its tokens, or the tokens as they are."""

# All tokens count as the map, so that the layout keeps none of the last block's own.
_ALL_TOKENS = Layout(
    lambda output: output.flatten(1, -2).transpose(1, 2)[..., None],
    lambda maps, original: maps[..., 0].transpose(1, 2).reshape(len(maps), *original.shape[1:]),
)


def block_gradients(seen: Seen, blocks: Blocks, pooling: Pooling) -> list[Tensor]:
    """Compute how the attention of each block changes the score that the head gives to the tokens of this block.

    The head is all that follows the last block, such as the last norm, the pooling and the classifier.

    Args:
        seen: a run with attention.
        blocks: the blocks of that run.
        pooling: with "mean", each token that the head reads is the mean over the tokens of the block.

    Returns:
        The derivatives of these scores, N×heads×T×T for each block, or R×heads×T×T for its R windows.

    Raises:
        CAMError: if the head alone gives another score than the network.
    """
    resume = capture(seen.call, Place(blocks.blocks[-1].module, False, _ALL_TOKENS), Needs(resume=Pace())).resume
    tails = [resume.tail(sample) for sample in range(seen.call.samples)]
    given = torch.stack([block.tokens.detach().flatten(1, -2) for block in blocks.blocks], 1)  # N×L×T×K
    given.requires_grad_()
    with torch.enable_grad():
        read = given.mean(2, keepdim=True).expand_as(given) if pooling == "mean" else given
        maps = read.transpose(2, 3)[..., None]
        outputs = [tail(rows) for tail, rows in zip(tails, maps, strict=True)]
        scores = torch.stack([seen.call.score_of(output, sample) for sample, output in enumerate(outputs)])
        # In two steps, so that each gradient ends in its own block: the tokens of later blocks depend on it as well.
        at_tokens = gradient_of(scores, given, "the tokens of the blocks")
    return [
        gradients_of(block.tokens, [attention], gradient.reshape(block.tokens.shape))[0]
        for attention, block, gradient in zip(blocks.attention, blocks.blocks, at_tokens.unbind(1), strict=True)
    ]
