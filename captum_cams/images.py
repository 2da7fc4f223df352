"""Operations on images and maps: scaling to [0, 1], resizing, and the blur that stands in for removed pixels."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

_ROUNDING = 4
"""Steps of the float type, relative to the largest magnitude, that rounding alone puts between equal values."""


def minmax(values: Tensor, dims: int | tuple[int, ...] = (-2, -1)) -> Tensor:
    """Scale linearly to [0, 1] over ``dims``; values without spread give 0, never NaN.

    There is no spread where maximum and minimum differ by at most 4 ε of the larger magnitude, with ε of the float
    type (1.2e-7 in float32): that much the rounding of one sum or one interpolation makes of equal values.
    """
    low, spread = _low_and_spread(values, dims)
    return torch.where(spread > 0, (values - low) / spread.where(spread > 0, 1), 0)


def upsample(maps: Tensor, size: Sequence[int], align_corners: bool = False, mode: str | None = None) -> Tensor:
    """Resize N×K×h×w maps to N×K×H×W, bilinear (N×K×t linear, N×K×d×h×w trilinear) or by another ``mode``.

    A map without spread, as in :func:`minmax`, is constant to the bit at every size.
    """
    low, spread = _low_and_spread(maps, tuple(range(2, maps.ndim)))
    maps = maps.where(spread > 0, low)
    if maps.shape[2:] == torch.Size(size):
        return maps
    mode = mode or {3: "linear", 4: "bilinear", 5: "trilinear"}[maps.ndim]
    level = low.where(spread == 0, 0)  # the weights of an interpolation add up to one but for rounding
    return F.interpolate(maps - level, tuple(size), mode=mode, align_corners=align_corners or None).add_(level)


def heat(maps: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Resize as :func:`upsample` does and scale each map to [0, 1]; a map without spread gives zeros.

    Whether a map has spread is decided at its own size.
    """
    dims = tuple(range(2, maps.ndim))
    return minmax(upsample(minmax(maps, dims), size, align_corners), dims)


def _low_and_spread(values: Tensor, dims: int | tuple[int, ...]) -> tuple[Tensor, Tensor]:
    low, high = values.amin(dims, keepdim=True), values.amax(dims, keepdim=True)
    kind = torch.finfo(values.dtype)
    rounding = _ROUNDING * kind.eps * torch.maximum(low.abs(), high.abs()).clamp(min=kind.tiny)
    spread = high - low
    return low, spread.where(spread > rounding, 0)


def blur(images: Tensor, kernel_size: int = 51, sigma: float = 50.0) -> Tensor:
    """Gaussian blur with reflected borders; on small images the kernel shrinks to what reflection allows."""
    sizes = [min(kernel_size, 2 * side - 1) for side in reversed(images.shape[-2:])]
    return gaussian_blur(images, sizes, [sigma, sigma])
