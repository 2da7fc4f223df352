"""LeGrad."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from captum_cams.bases.spatial import SpatialCAM
from captum_cams.cost import Cost, named
from captum_cams.engine.block_gradients import Pooling, block_gradients
from captum_cams.engine.blocks import Blocks
from captum_cams.engine.call import Call
from captum_cams.engine.capture import Seen, capture
from captum_cams.errors import check_choice
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class LeGrad(SpatialCAM):
    """Shows the patches to which more attention would raise the class score, in the mean over the blocks.

    Bousselham et al. 2025, section 3: s_l is the score that the head of the network (all that follows the last block)
    gives to the tokens of block l. The map is the mean over the L blocks of the mean over heads and queries of
    ReLU(∂s_l/∂A_l), where A_l is the attention of block l after the softmax. The values are not scaled to [0, 1].

    The paper explains plain vision transformers. Where attention is over windows of the map, as in Swin, this class
    goes further: the values inside each window are put back in place, without those of padding, and L counts the blocks
    of the last stage alone, whose map is that of the layer. The mean over queries is over all T tokens of the window.

    Args:
        pooling: what the head reads of a block: "mean", the mean of all tokens, as in the authors' code and in
            TorchCAM, or "head", the tokens as they are, of which many networks read the class token alone.
        **options: see :class:`CAMAttribution`.

    Raises:
        CAMError: ``pooling`` is not one of its choices; in a call, if the network has no attention, or neither over one
            grid of tokens nor over windows of the map, if two tokens of all maps are alike, so that windows cannot be
            put in place, or if the blocks are not found.

    Example::

        cam = cc.LeGrad(vit, "encoder.layers.encoder_layer_11.ln_1", reshape="tokens")
        maps = cam.attribute(images, labels)  # values of 0 or greater
    """

    title = "LeGrad"
    paper = Paper(
        "Bousselham et al.",
        "LeGrad: An Explainability Method for Vision Transformers via Feature Formation Sensitivity",
        "ICCV",
        2025,
        "https://arxiv.org/abs/2404.03214",
    )
    cost = Cost(2, behind=2 + named("L"), gradients=1)
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
        pooling: Pooling = "mean",
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        check_choice("pooling", pooling, Pooling)
        self.pooling = pooling

    def explain(self, call: Call) -> Tensor:
        # The tokens are those of the blocks, so the layer itself may also give them as N×K×h×w.
        return self.components(capture(call, self.place(call), self.needs))

    def maps(self, seen: Seen) -> Tensor:
        blocks = Blocks.of(seen)
        relevance = [gradient.relu().mean((1, 2)) for gradient in block_gradients(seen, blocks, self.pooling)]
        return blocks.on_map(relevance).mean(1, keepdim=True)
