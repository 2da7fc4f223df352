"""From a map at the layer's size to a heat map at the image's size."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def minmax(values: Tensor, dims: int | tuple[int, ...] = (-2, -1)) -> Tensor:
    """Scale linearly to [0, 1] over ``dims``; where all values are equal the result is 0, never NaN."""
    low, high = values.amin(dims, keepdim=True), values.amax(dims, keepdim=True)
    spread = high - low
    return torch.where(spread > 0, (values - low) / spread.where(spread > 0, 1), 0)


def upsample(maps: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Resize N×K×h×w maps to N×K×H×W, bilinear (N×K×t linear, N×K×d×h×w trilinear)."""
    if maps.shape[2:] == torch.Size(size):
        return maps
    mode = {3: "linear", 4: "bilinear", 5: "trilinear"}[maps.ndim]
    return F.interpolate(maps, tuple(size), mode=mode, align_corners=align_corners)
