"""Draw maps over images."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from captum_cams.errors import CAMError, check_tensor, shape_of
from captum_cams.visual.colours import ALPHA, paint
from captum_cams.visual.scale import Scaled, scale

Region = Sequence[int]
"""The part of an image that a map covers, in pixels of the image: (x0, y0, x1, y1), half-open."""


def overlay(
    images: Tensor,
    maps: Tensor,
    alpha: float = ALPHA,
    colormap: str | None = None,
    *,
    signed: bool | None = None,
    percentile: float | None = None,
    smoothing: float | None = None,
    region: Region | None = None,
) -> Tensor:
    """Draw each map in colour over its image, which stays a photograph where the map is zero.

    Args:
        images: N×3×H×W or N×3×D×H×W in [0, 1], as :func:`displayable` makes them. They may be larger than what the
            model took.
        maps: N×h×w or N×1×h×w (N×d×h×w or N×1×d×h×w for volumes), of any size. Each map is resized to its image and has
            a scale of its own; the map of a volume is scaled as a whole, so that its slices can be compared.
        alpha: as in :func:`paint`.
        colormap: as in :func:`palette`.
        signed: as in :func:`scale`.
        percentile: as in :func:`scale`.
        smoothing: as in :func:`scale`.
        region: the part of the images that the maps cover, (x0, y0, x1, y1) in pixels, such as the centre crop that the
            model took; None is the whole image.

    Returns:
        The pictures in [0, 1] on the CPU, with the shape of ``images``.

    Raises:
        CAMError: the shapes do not fit, the maps contain NaN or Inf, or an argument is out of its range.

    Example::

        from captum_cams import visual

        maps = cc.GradCAM(model, "layer4").attribute(images)
        pictures = visual.overlay(visual.displayable(images), maps)
        assert pictures.shape == images.shape
    """
    ranges = {"signed": signed, "percentile": percentile, "smoothing": smoothing}
    scaled = scaled_over(images, {"overlay": maps}, region, **ranges)["overlay"]
    return paint(images.detach().float().cpu(), scaled.values, scaled.signed, alpha, colormap)


def scaled_over(
    images: Tensor, maps: Mapping[str, Tensor], region: Region | None = None, **options: Any
) -> dict[str, Scaled]:
    """Scale maps for the images that they are drawn over.

    Args:
        images: as in :func:`overlay`.
        maps: the name of each method with its maps, as in :func:`overlay`.
        region: as in :func:`overlay`.
        **options: the further arguments of :func:`scale`.

    Returns:
        The scaled maps of each method at the size of the images; outside of the region they are zero.

    Raises:
        CAMError: the shapes do not fit, or an argument is out of its range.
    """
    fitting = {name: with_channel(images, each) for name, each in maps.items()}
    found = scale(fitting, covered_part(images, region), **options)
    return {name: replace(one, values=placed(one.values, images, region)) for name, one in found.items()}


def with_channel(images: Tensor, maps: Tensor) -> Tensor:
    """The maps as N×1×h×w or N×1×d×h×w.

    Raises:
        CAMError: they do not fit the images.
    """
    check_tensor("maps", maps, "N×h×w or N×1×h×w")
    check_tensor("images", images, "N×3×H×W")
    maps = maps[:, None] if maps.ndim == images.ndim - 1 else maps
    if images.ndim not in (4, 5) or maps.ndim != images.ndim or maps.shape[:2] != (len(images), 1):
        form = "N×3×D×H×W and maps N×d×h×w or N×1×d×h×w" if images.ndim == 5 else "N×3×H×W and maps N×h×w or N×1×h×w"
        raise CAMError(f"images must be {form}, in this order, got {shape_of(images)} and {shape_of(maps)}")
    return maps


def covered_part(images: Tensor, region: Region | None) -> tuple[int, ...]:
    """The size of what the maps cover: H×W or D×H×W.

    Raises:
        CAMError: the region is not inside the images.
    """
    if region is None:
        return tuple(images.shape[2:])
    height, width = images.shape[-2:]
    x0, y0, x1, y1 = region if len(region) == 4 else (0, 0, 0, 0)
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise CAMError(
            f"region must be (x0, y0, x1, y1) inside of the image of {width}×{height} pixels, got {tuple(region)}"
        )
    return (*images.shape[2:-2], y1 - y0, x1 - x0)


def placed(values: Tensor, images: Tensor, region: Region | None) -> Tensor:
    """Scaled maps of a region as scaled maps of the whole images, zero outside."""
    if region is None:
        return values
    x0, y0, x1, y1 = region
    return F.pad(values, (x0, images.shape[-1] - x1, y0, images.shape[-2] - y1))
