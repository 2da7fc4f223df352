"""The transformer explanation of Chefer, Gur and Wolf."""

import torch
from torch import Tensor

from captum_cams.bases.spatial import SpatialCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.engine.self_attention import equal_shares
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class Chefer(SpatialCAM):
    """Shows the patches whose attention raises the class score, through all blocks of a transformer.

    Chefer et al. 2021, eq. 5 and 6: from R = I, each block adds R ← R + mean_heads(ReLU(∇A ∘ A)) R, where A is its
    attention after the softmax and ∇A the gradient of the class score. The map is the row of R of the class token. If
    the head of the network reads several tokens, as an average over the patches does, it is the mean of their rows of
    R − I; without that, I would add the same constant everywhere. If the head reads all tokens by an attention of its
    own, the last step is R ← mean_heads(ReLU(∇A ∘ A)) R.

    Only softmax attention counts: what convolutions or other mixers between the blocks move from token to token is not
    in the map.

    Raises:
        CAMError: in a call, if the network has no attention, or not over one grid of tokens, as inside windows, or if
            no gradient of the score reaches it.

    Example::

        cam = cc.Chefer(vit, "encoder.layers.encoder_layer_11.ln_1", reshape="tokens")
        maps = cam.attribute(images, labels)  # values of 0 or greater
    """

    title = "Chefer et al."
    paper = Paper(
        "Chefer et al.",
        "Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder Transformers",
        "ICCV",
        2021,
        "https://arxiv.org/abs/2103.15679",
    )
    cost = Cost(gradients=1)
    per_channel = False
    needs_attention = True
    needs_tokens = True
    rectifies = False

    def maps(self, seen: Seen) -> Tensor:
        attention = seen.attention
        gradients = attention.gradients()
        start = equal_shares(gradients[-1])[:, None]  # N×1×Q: from the last block back, one row of R is enough
        added = torch.zeros_like(start)  # that row of R without I
        for weights, gradient in zip(reversed(attention.weights), reversed(gradients), strict=True):
            step = (gradient * weights).relu().mean(1)
            if step.shape[1] == step.shape[2]:
                added = added + (start + added) @ step
            else:
                start, added = start @ step, torch.zeros_like(step[:, :1])
        return attention.on_map((added if attention.pooling is None else start + added)[:, 0])
