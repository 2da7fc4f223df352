"""Base class of methods that weigh a channel by the score of the image under the mask that the channel makes."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum_cams.bases.perturbed import PerturbedCAM
from captum_cams.bases.spatial import WeightedCAM
from captum_cams.engine.capture import Seen
from captum_cams.engine.scores import Score
from captum_cams.engine.unique import unique_rows
from captum_cams.errors import check_choice
from captum_cams.images import heat, minmax, upsample

MaskOrder = Literal["upsample_first", "normalise_first"]


class InputMaskCAM(PerturbedCAM, WeightedCAM):
    """The base class of methods that use each channel of the layer as a mask of the image.

    The activation of a channel is resized to the image and scaled to [0, 1]. The weight of the channel is the score of
    the masked image, with a softmax over the channels. Masks are made chunk by chunk, and equal masks are scored once.
    The layer only supplies the masks, so they show what it holds at positions that the head does not read, too. The
    mask of a constant channel is zero. A score of a baseline would not change the softmax, so none is computed.
    A subclass writes :meth:`score_masks`.

    Args:
        score: "logit", or "probability" as in the code of Wang et al.
        softmax: False uses the scores themselves as weights; the code of Wang et al. does this, with "probability".
        mask_order: "upsample_first" scales the mask at the size of the image, "normalise_first" scales it at the size
            of the layer, as TorchCAM does.
        align_corners: how the linear upsampling places the corners; True in pytorch-grad-cam.
        **options: see :class:`PerturbedCAM`.

    Raises:
        CAMError: ``score`` or ``mask_order`` is unknown.

    Example::

        class Plain(cc.InputMaskCAM):
            cost = cc.Cost()

            def score_masks(self, masks, channels, image, run):
                return run(masks * image)

        maps = Plain(model, "layer4", mask_order="normalise_first").attribute(images)
    """

    any_dimension = True
    shares_masks = True
    """Whether equal masks have equal scores, so that each of them is scored once."""

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        score: Score = "logit",
        softmax: bool = True,
        mask_order: MaskOrder = "upsample_first",
        align_corners: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        check_choice("score", score, Score)
        check_choice("mask_order", mask_order, MaskOrder)
        self.score, self.softmax, self.mask_order, self.align_corners = score, softmax, mask_order, align_corners

    @abstractmethod
    def score_masks(self, masks: Tensor, channels: Tensor, image: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        """Score the image under each mask of a chunk.

        Args:
            masks: R×1×H×W, in [0, 1].
            channels: the R indices of the channels that the masks come from.
            image: C×H×W.
            run: a function that runs the model on images M×C×H×W and returns their M scores.

        Returns:
            The R scores.
        """

    def weights(self, seen: Seen) -> Tensor:
        scores = torch.stack([self._channel_scores(seen, sample) for sample in range(len(seen.activation))])
        return scores.softmax(1) if self.softmax else scores

    def _channel_scores(self, seen: Seen, sample: int) -> Tensor:
        """Score all channels of one sample."""
        maps, image = seen.activation[sample], seen.inputs[0][sample]
        channels = torch.arange(len(maps), device=maps.device)
        first, which = unique_rows(minmax(maps.flatten(1), 1)) if self.shares_masks else (channels, channels)

        def run(images: Tensor) -> Tensor:
            return seen.rerun.scores(images, sample, self.score)

        scores = [
            self.score_masks(self._masks(maps[part, None], image), part, image, run) for part in self.chunks(first)
        ]
        return torch.cat(scores)[which]

    def _masks(self, maps: Tensor, image: Tensor) -> Tensor:
        """Make the masks from the activations of some channels."""
        size = image.shape[1:]
        if self.mask_order == "normalise_first":
            masks = upsample(minmax(maps, tuple(range(2, maps.ndim))), size, self.align_corners)
        else:
            masks = heat(maps, size, self.align_corners)
        return masks.to(image.dtype)
