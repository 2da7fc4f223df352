"""What the methods share that score an image seen through the activations of its channels."""

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
    """w = softmax over channels of a score of the input times the channel's map, upsampled and scaled to [0, 1].

    Masks are made chunk by chunk, equal ones once; a constant channel's mask is zero, and all such channels share
    one run. The score of a baseline drops out of the softmax. Subclasses write :meth:`score_masks`.

    Args:
        score: "logit", or "probability" as Wang et al.'s code.
        softmax: False takes the scores themselves as weights (with "probability", as Wang et al.'s code).
        mask_order: "upsample_first" and then scale, or "normalise_first" at the layer's size (TorchCAM).
        align_corners: of the bilinear upsampling (pytorch-grad-cam: True).
        **options: see :class:`PerturbedCAM`.
    """

    shares_masks = True
    """Whether equal masks have equal scores."""

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
        """The scores R of masks R×1×H×W, which belong to ``channels``; ``run`` maps R×C×H×W images to scores."""

    def weights(self, seen: Seen) -> Tensor:
        scores = torch.stack([self._channel_scores(seen, sample) for sample in range(len(seen.activation))])
        return scores.softmax(1) if self.softmax else scores

    def _channel_scores(self, seen: Seen, sample: int) -> Tensor:
        maps, image = seen.activation[sample], seen.inputs[0][sample]
        channels = torch.arange(len(maps), device=maps.device)
        first, which = unique_rows(minmax(maps)) if self.shares_masks else (channels, channels)

        def run(images: Tensor) -> Tensor:
            return seen.rerun.scores(images, sample, self.score)

        scores = [
            self.score_masks(self._masks(maps[part, None], image), part, image, run) for part in self.chunks(first)
        ]
        return torch.cat(scores)[which]

    def _masks(self, maps: Tensor, image: Tensor) -> Tensor:
        size = image.shape[-2:]
        if self.mask_order == "normalise_first":
            masks = upsample(minmax(maps), size, self.align_corners)
        else:
            masks = heat(maps, size, self.align_corners)
        return masks.to(image.dtype)
