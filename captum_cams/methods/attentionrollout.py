"""Attention rollout."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum_cams.bases.spatial import SpatialCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.errors import check_choice
from captum_cams.paper import Paper
from captum_cams.registry import register

HeadFusion = Literal["mean", "max", "min"]


@register
class AttentionRollout(SpatialCAM):
    """Shows which patches the tokens of a transformer read, through all of its blocks; the same for every class.

    Abnar and Zuidema 2020, eq. 1: R = Â_L … Â_1, where Â_l has the rows of mean_heads(A_l) + I, each divided by its
    sum, and A_l is the attention of block l after the softmax. The map is the row of R of the class token. If the head
    of the network reads several tokens, as an average over the patches does, it is the mean of their rows, and if it
    reads all tokens by an attention of its own, the last factor is mean_heads(A) of that attention, without I.

    Only softmax attention counts: what convolutions or other mixers between the blocks move from token to token is not
    in the map.

    Args:
        head_fusion: what one matrix is made of all heads with: "mean" as in the paper, "max" or "min".
        **options: see :class:`CAMAttribution`.

    Raises:
        CAMError: ``head_fusion`` is not one of its choices; in a call, if the network has no attention, or not over one
            grid of tokens, as inside windows.

    Example::

        cam = cc.AttentionRollout(vit, "encoder.layers.encoder_layer_11.ln_1", reshape="tokens")
        maps = cam.attribute(images)  # values in [0, 1]
    """

    title = "Attention Rollout"
    paper = Paper(
        "Abnar and Zuidema",
        "Quantifying Attention Flow in Transformers",
        "ACL",
        2020,
        "https://arxiv.org/abs/2005.00928",
    )
    cost = Cost(gradients=1)
    per_channel = False
    needs_attention = True
    needs_tokens = True
    rectifies = False

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        head_fusion: HeadFusion = "mean",
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        check_choice("head_fusion", head_fusion, HeadFusion)
        self.head_fusion = head_fusion

    def maps(self, seen: Seen) -> Tensor:
        attention = seen.attention
        rows = attention.reading()[:, None]  # N×1×Q: from the last block back to the first, only the row that is read
        for weights in reversed(attention.weights):
            fused = self._fused(weights)
            if fused.shape[1] == fused.shape[2]:
                fused = fused + torch.eye(len(fused[0])).to(fused)
            rows = rows @ (fused / fused.sum(-1, keepdim=True))
        return attention.on_map(rows[:, 0])

    def _fused(self, weights: Tensor) -> Tensor:
        if self.head_fusion == "mean":
            return weights.mean(1)
        return weights.amax(1) if self.head_fusion == "max" else weights.amin(1)
