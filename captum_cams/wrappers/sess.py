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
    """Shows what the base finds in windows that slide over the image at several scales.

    Tursun et al. 2022, section 3: the map of each window is scaled to [0, 1], multiplied by the window's class
    probability, divided by the largest one, and placed on the image; a pixel gets the mean of the maps that are not
    zero there (or their maximum), smoothed by a Gaussian of 11 pixels, σ 5. The map is as large as the image, N×1×H×W,
    with values in [0, 1].

    In the cost, ``windows`` is the number of all windows and ``kept`` the number of those that are explained.

    Args:
        scales: number of sizes of the image, at least 1; the first one is its own size.
        step: pixels by which the sides grow from one size to the next, at least 1.
        drop: share of the windows, 0 ≤ drop < 1, that are not explained: those with the lowest class probability.
            Windows are as few as cover the image, side by side or overlapping evenly.
        fusion: "mean" or "max".
        **options: see :class:`VariantsCAM`.

    Raises:
        CAMError: ``scales`` or ``step`` is not a positive integer, ``drop`` is not in [0, 1), or ``fusion`` is not one
            of its choices; in a call, if the score of a window is negative.

    Example::

        cam = cc.SESS(model, "layer4", base="gradcam", scales=2)
        maps = cam.attribute(images, labels)  # 2×1×64×64, in [0, 1]
    """

    title = "SESS"
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
            raise CAMError(f"drop must be at least 0 and below 1, got {drop!r}; drop=0 explains every window")
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
                f"SESS weighs windows by scores, which must not be negative, got {float(scores.min()):.3g} from a "
                "target or task without probabilities; pass a function that ends in a sigmoid, softmax or exp"
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
    """Return where windows of ``side`` begin on ``side + growth`` pixels: as few as cover them, evenly spaced."""
    number = ceil((side + growth) / side)
    return [round(i * growth / max(number - 1, 1)) for i in range(number)]


def _grown(image: Tensor, growth: int) -> Tensor:
    size = [side + growth for side in image.shape[2:]]
    return image if growth == 0 else upsample(image, size)


def _placed(window: Tensor, growth: int, top: int, left: int) -> Tensor:
    """Put the map of a window on the enlarged image and resize the result to the image's own size."""
    height, width = window.shape[2:]
    whole = window.new_zeros(1, 1, height + growth, width + growth)
    whole[:, :, top : top + height, left : left + width] = window
    return upsample(whole, (height, width))
