"""SESS."""

from collections.abc import Callable
from math import ceil
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.variants import VariantsCAM
from captum_cams.cost import Cost, named
from captum_cams.engine.call import Call
from captum_cams.errors import CAMError, check_at_least, check_choice
from captum_cams.images import blur, heat, upsample
from captum_cams.paper import Paper
from captum_cams.registry import register

Fusion = Literal["mean", "max"]


@register
class SESS(VariantsCAM):
    """Fuse the maps of windows that slide over the image at several scales; at the input's size.

    Tursun et al. 2022, section 3: each window's map, scaled to [0, 1], is weighted by the window's class probability
    over the largest one and placed back; a pixel gets the mean over the maps that are not zero there (or their
    maximum), smoothed by a Gaussian, 11 pixels, σ 5.

    Args:
        scales: how often the image is enlarged, the image itself included.
        step: pixels that its sides grow by from one scale to the next.
        drop: share of windows with the lowest probability that are not explained. The first is 0.9, as windows here
            are as few as cover the image, side by side or overlapping evenly.
        fusion: "mean" or "max".
        **options: see :class:`VariantsCAM`.

    Raises:
        CAMError: ``drop`` is not in [0, 1), or a score that is taken as it is is negative.
    """

    paper = Paper(
        "Tursun et al.",
        "SESS: Saliency Enhancing with Scaling and Sliding",
        "ECCV",
        2022,
        "https://arxiv.org/abs/2207.01769",
    )
    cost = Cost(1 + named("windows"), bases=named("kept"))
    at_input_size = True

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        base: str | CAMAttribution = "gradcam",
        scales: int = 12,
        step: int = 64,
        drop: float = 0.9,
        fusion: Fusion = "mean",
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, base=base, **options)
        check_at_least("scales", scales, 1)
        check_at_least("step", step, 1)
        check_choice("fusion", fusion, Fusion)
        if not 0 <= drop < 1:
            raise CAMError(f"drop must lie in 0 ≤ drop < 1, got {drop!r}")
        self.scales, self.step, self.drop, self.fusion = scales, step, drop, fusion

    def combine(self, call: Call) -> Tensor:
        return torch.cat([self._fused(call, n) for n in range(call.samples)])

    def _fused(self, call: Call, sample: int) -> Tensor:
        image = call.inputs[0][sample : sample + 1]
        height, width = image.shape[2:]
        windows = [
            (scale, top, left)
            for scale in range(self.scales)
            for top in _starts(height, self.step * scale)
            for left in _starts(width, self.step * scale)
        ]

        def cut(chosen: list[tuple[int, int, int]]) -> Call:
            large = {scale: _grown(image, self.step * scale) for scale in {scale for scale, _, _ in chosen}}
            images = [large[s][:, :, top : top + height, left : left + width] for s, top, left in chosen]
            return call.rows(torch.cat(images), [sample] * len(chosen))

        parts = self.chunks(len(windows))
        scores = torch.cat([cut([windows[i] for i in part]).probabilities() for part in parts])
        if bool((scores < 0).any()):
            raise CAMError(
                f"SESS weighs windows by scores that are not negative, got {float(scores.min()):.3g} from a target "
                "or task that takes them as they are; pass a function that ends in a sigmoid, softmax or exp"
            )
        kept = scores.argsort(descending=True, stable=True)[: max(1, round(len(windows) * (1 - self.drop)))].tolist()
        total, count = torch.zeros_like(image[:, :1]), torch.zeros_like(image[:, :1])
        for part in self.chunks(len(kept)):
            chosen = [windows[kept[i]] for i in part]
            maps = heat(self.base.map_of(cut(chosen)), (height, width))
            for (scale, top, left), map_, i in zip(chosen, maps, part, strict=True):
                weight = scores[kept[i]] / scores[kept[0]] if scores[kept[0]] != 0 else 1.0
                placed = _placed(weight * map_[None], self.step * scale, top, left)
                total = torch.maximum(total, placed) if self.fusion == "max" else total + placed
                count += placed != 0
        return blur(total if self.fusion == "max" else total / count.clamp(min=1), 11, 5.0)


def _starts(side: int, growth: int) -> list[int]:
    """Where windows of ``side`` begin on ``side + growth``: as few as cover it, evenly."""
    number = ceil((side + growth) / side)
    return [round(i * growth / max(number - 1, 1)) for i in range(number)]


def _grown(image: Tensor, growth: int) -> Tensor:
    size = [side + growth for side in image.shape[2:]]
    return image if growth == 0 else upsample(image, size)


def _placed(window: Tensor, growth: int, top: int, left: int) -> Tensor:
    """A window's map on the whole image, which is brought back to its own size."""
    height, width = window.shape[2:]
    whole = window.new_zeros(1, 1, height + growth, width + growth)
    whole[:, :, top : top + height, left : left + width] = window
    return upsample(whole, (height, width))
