"""Jitter-CAM."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.variants import VariantsCAM
from captum_cams.cost import Cost, named
from captum_cams.engine.call import Call
from captum_cams.engine.targets import wide
from captum_cams.errors import CAMError, check_at_least, check_choice
from captum_cams.images import upsample
from captum_cams.paper import Paper
from captum_cams.registry import register

Interpolation = Literal["bilinear", "nearest"]
CountFrom = Literal[0, 1]


@register
class JitterCAM(VariantsCAM):
    """Shows the base's map in higher resolution, put together from shifted patches of the image.

    Hartley et al. 2021, eq. 1 and 2: the image has p pixels a side and its map m positions of k = p/m pixels. The image
    is resized to p + d·k; the map of the patch at (k·i, k·j), i, j = 0…d, is added to J at (i, j) and counted in C;
    map = J / C, N×1×(m + d)×(m + d). An image has (d + 1)² patches, ``patches`` in the cost.

    Args:
        growth: d, at least 0; None takes m, which doubles the resolution.
        interpolation: of the enlargement: "bilinear", or "nearest" as in the code of Hartley et al.
        count_from: where C starts: 0, or 1 as in the code of Hartley et al., which darkens the border.
        **options: see :class:`VariantsCAM`.

    Raises:
        CAMError: the base's map is as large as the image, ``growth`` is negative, or ``interpolation`` or
            ``count_from`` is not one of its choices; in a call, if the base's maps of the patches differ in size.

    Example::

        cam = cc.JitterCAM(model, "layer4", base="gradcam", growth=1)
        maps = cam.attribute(images, labels)  # one position more on each side than Grad-CAM's
    """

    title = "Jitter-CAM"
    paper = Paper(
        "Hartley et al.",
        "Jitter-CAM: Improving the Spatial Resolution of CAM-Based Explanations",
        "BMVC",
        2021,
        "https://github.com/HartleyTW/Jitter-CAM",
    )
    cost = Cost(2, bases=named("patches"))  # a base that is a wrapper runs once more, for the size of its maps

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        base: str | CAMAttribution = "gradcam",
        growth: int | None = None,
        interpolation: Interpolation = "bilinear",
        count_from: CountFrom = 0,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, base=base, **options)
        if self.base.at_input_size:
            kind = type(self.base).__name__
            raise CAMError(f"Jitter-CAM needs a base with maps smaller than the image, got {kind}; use Grad-CAM, say")
        if growth is not None:
            check_at_least("growth", growth, 0)
        check_choice("interpolation", interpolation, Interpolation)
        check_choice("count_from", count_from, CountFrom)
        self.growth, self.interpolation, self.count_from = growth, interpolation, count_from

    def combine(self, call: Call) -> Tensor:
        images, (height, width) = call.inputs[0], call.inputs[0].shape[2:]
        rows, columns = self.base.map_size(call)
        if (rows, columns) == (height, width):
            raise CAMError(
                f"Jitter-CAM needs a base with maps smaller than the image, got {rows}×{columns} for both; choose a "
                "deeper layer"
            )
        down, right = (rows, columns) if self.growth is None else (self.growth, self.growth)
        # If a block is not a whole number of pixels, its offset is rounded.
        tops = [round(i * height / rows) for i in range(down + 1)]
        lefts = [round(j * width / columns) for j in range(right + 1)]
        large = upsample(images, (height + tops[-1], width + lefts[-1]), mode=self.interpolation)
        offsets = [(n, i, j) for n in range(len(images)) for i in range(down + 1) for j in range(right + 1)]
        mean = wide(images.new_zeros(len(images), 1, rows + down, columns + right))
        count = torch.zeros_like(mean)
        for part in self.chunks(len(offsets)):
            chosen = [offsets[index] for index in part]
            patches = [large[n, :, tops[i] : tops[i] + height, lefts[j] : lefts[j] + width] for n, i, j in chosen]
            maps = self.base.map_of(call.rows(torch.stack(patches), [n for n, _, _ in chosen]))
            if maps.shape[2:] != (rows, columns):
                size = "×".join(map(str, maps.shape[2:]))
                raise CAMError(
                    f"Jitter-CAM needs maps of one size, expected {rows}×{columns}, got {size} for a patch; use a base "
                    "whose map size depends on the image size alone"
                )
            for (n, i, j), map_ in zip(chosen, maps, strict=True):
                window = n, slice(None), slice(i, i + rows), slice(j, j + columns)
                count[window] += 1
                mean[window] += (map_ - mean[window]) / count[window]  # exact if all maps are equal
        return mean * (count / (count + self.count_from))
