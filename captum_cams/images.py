"""Operations on images and maps: the axes of images, scaling to [0, 1], resizing, and blur."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

CHANNELS = (1, 3, 4)
"""The numbers of channels of grey images, of colours, and of colours with transparency."""

_ROUNDING = 4
"""How far rounding alone may move equal values apart, as a multiple of ε and of the largest magnitude."""


@dataclass(frozen=True)
class ImageForm:
    """The form in which a model takes images: the order of the axes and the type of the values.

    The library computes with floating-point images N×C×H×W, and gives the model its own form in each run.

    Args:
        channels_last: whether the images are N×H×W×C.
        dtype: the type of the values.
        contiguous: whether the values of an image lie in memory in the order of its axes, as some models need.
    """

    channels_last: bool
    dtype: torch.dtype
    contiguous: bool = True

    @classmethod
    def of(cls, images: Tensor, channels_last: bool = False) -> "ImageForm":
        """The form of these images."""
        return cls(channels_last, images.dtype, images.is_contiguous())

    @property
    def is_integer(self) -> bool:
        """Whether the values are integers, such as bytes."""
        return not (self.dtype.is_floating_point or self.dtype.is_complex or self.dtype == torch.bool)

    def standard(self, images: Tensor) -> Tensor:
        """Convert images of this form to floating-point images N×C×H×W (other inputs keep their axes)."""
        images = images.movedim(-1, 1) if self.channels_last else images
        # Doubles hold every integer that an image may have.
        return images.to(torch.float32 if self.dtype.itemsize < 4 else torch.float64) if self.is_integer else images

    def as_taken(self, images: Tensor) -> Tensor:
        """Convert images back to this form. Integers are rounded, and cut to the range of their type."""
        if self.channels_last:
            images = images.movedim(1, -1)
            images = images.contiguous() if self.contiguous else images
        if not self.is_integer:
            return images
        limits = torch.iinfo(self.dtype)
        return images.round().clamp(limits.min, limits.max).to(self.dtype)


def size_of(images: Tensor) -> torch.Size:
    """Height and width of images N×C×H×W, or N×H×W×C if they look so (see :func:`look_channels_last`)."""
    return images.shape[1:3] if look_channels_last(images) else images.shape[2:]


def look_channels_last(images: Tensor) -> bool:
    """Tell whether images look like N×H×W×C: the last axis is 1, 3 or 4 and no other could hold the channels."""
    if images.ndim != 4 or images.shape[1] in CHANNELS:
        return False
    return images.shape[3] in CHANNELS and min(images.shape[1:3]) > max(CHANNELS)


def minmax(values: Tensor, dims: int | tuple[int, ...] = (-2, -1)) -> Tensor:
    """Scale values linearly to [0, 1]; constant values become 0, never NaN.

    Values are constant if the maximum and the minimum differ by at most 4 ε of the larger magnitude, where ε is the
    precision of the float type (1.2e-7 in float32). The rounding of a sum or of an interpolation can be that large.

    Args:
        values: a tensor of any shape.
        dims: the dimensions over which the minimum and the maximum are taken.

    Returns:
        The scaled values, with the shape of ``values``.
    """
    low, spread = _low_and_spread(values, dims)
    return torch.where(spread > 0, (values - low) / spread.where(spread > 0, 1), 0)


def upsample(maps: Tensor, size: Sequence[int], align_corners: bool = False, mode: str | None = None) -> Tensor:
    """Resize maps by linear interpolation; a constant map stays constant to the bit.

    Args:
        maps: N×K×t, N×K×h×w or N×K×d×h×w.
        size: the new size of the dimensions after the channels.
        align_corners: whether the centres of the corner values, instead of their outer edges, keep their places.
        mode: another mode of ``torch.nn.functional.interpolate``; None is linear, bilinear or trilinear.

    Returns:
        The maps N×K×``size``.
    """
    low, spread = _low_and_spread(maps, tuple(range(2, maps.ndim)))
    maps = maps.where(spread > 0, low)
    if maps.shape[2:] == torch.Size(size):
        return maps
    mode = mode or {3: "linear", 4: "bilinear", 5: "trilinear"}[maps.ndim]
    level = low.where(spread == 0, 0)  # rounding: the weights of an interpolation may not add up to 1
    return F.interpolate(maps - level, tuple(size), mode=mode, align_corners=align_corners or None).add_(level)


def heat(maps: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Resize each map and scale it to [0, 1], as heat maps are shown; a constant map becomes zero.

    Args:
        maps: as in :func:`upsample`. A map counts as constant at its own size, before it is resized.
        size: as in :func:`upsample`.
        align_corners: as in :func:`upsample`.

    Returns:
        The maps N×K×``size``, in [0, 1].
    """
    dims = tuple(range(2, maps.ndim))
    return minmax(upsample(minmax(maps, dims), size, align_corners), dims)


def _low_and_spread(values: Tensor, dims: int | tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Compute the minimum and the distance to the maximum, which is 0 if only rounding makes it."""
    low, high = values.amin(dims, keepdim=True), values.amax(dims, keepdim=True)
    kind = torch.finfo(values.dtype)
    rounding = _ROUNDING * kind.eps * torch.maximum(low.abs(), high.abs()).clamp(min=kind.tiny)
    spread = high - low
    return low, spread.where(spread > rounding, 0)


def blur(images: Tensor, kernel_size: int = 51, sigma: float = 50.0) -> Tensor:
    """Blur images with a Gaussian kernel, for example to replace the pixels that a metric deletes.

    The borders are reflected. On small images the kernel shrinks to the largest size that reflection allows.

    Args:
        images: N×C×H×W, or signals N×C×T or volumes N×C×D×H×W, which are blurred along each of their axes.
        kernel_size: length of the kernel along each axis in pixels, an odd number.
        sigma: standard deviation of the kernel in pixels.

    Returns:
        The blurred images, with the shape of ``images``.

    Example::

        blurred = metrics.blur(images, kernel_size=11, sigma=5.0)
        assert blurred.shape == images.shape
    """
    for axis in range(2, images.ndim):  # a Gaussian is a product, so one axis after the other gives the same result
        lines = images.movedim(axis, -1)
        sizes = [min(kernel_size, 2 * lines.shape[-1] - 1), 1]
        blurred = gaussian_blur(lines.flatten(2, -2) if lines.ndim > 3 else lines[:, :, None], sizes, [sigma, sigma])
        images = blurred.reshape(lines.shape).movedim(-1, axis)
    return images.contiguous()


def smooth(maps: Tensor, share: float) -> Tensor:
    """Blur maps with a Gaussian whose width follows the size of the map; a constant map stays constant to the bit.

    Args:
        maps: N×K×t, N×K×h×w or N×K×d×h×w.
        share: the standard deviation as a share of the longest side; the kernel ends at three of them.

    Returns:
        The blurred maps, with the shape of ``maps``, in float32 or float64.
    """
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    sigma = share * max(maps.shape[2:])
    lowest = maps.amin(tuple(range(2, maps.ndim)), keepdim=True)  # rounding: the weights may not add up to 1
    return blur(maps - lowest, 2 * math.ceil(3 * sigma) + 1, sigma) + lowest
