"""Small copies of photographs and maps, as texts that a page decodes."""

import base64
import io
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from captum_cams.images import minmax, smooth

PHOTOGRAPH, MAP = 320, 64
"""The longest side of a photograph and of a map in a page, in pixels; larger ones are reduced."""
_FULL = 0.8  # of the bytes of a pixel-fine map; the rest keeps the order of its highest values


def photograph(image: Tensor, side: int = PHOTOGRAPH) -> str:
    """Write a photograph as the address of an image.

    Args:
        image: 3×H×W in [0, 1], as ``visual.displayable`` makes them.
        side: the longest side of the result in pixels.

    Returns:
        A "data:" address, which an ``img`` takes as its ``src``.
    """
    pixels = (_reduced(image, side) * 255).round().clamp(0, 255).byte().movedim(0, -1).cpu().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=82, method=2)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def small_map(map_: Tensor, side: int = MAP) -> dict[str, Any]:
    """Write a map as bytes: 0 is its lowest value and 255 its highest.

    If the map has negative values, 128 is the value 0, and 1 and 255 are its largest magnitude. A pixel-fine map, whose
    peak a blur of 1 % of its longest side lowers by more than a quarter, could hardly be seen: it is smoothed by this
    blur, and its highest 1 % of values have the colour of the highest. They share the upper fifth of the bytes.

    Args:
        map_: h×w.
        side: the longest side of the result in pixels; a larger map is reduced by means.

    Returns:
        "width", "height", "bytes" in base64 row by row, "signed", "fine", and "full" (the share of the bytes at which
        the colours end).
    """
    values = map_.detach().float().cpu()[None, None]
    smoothed = smooth(values, 0.01)
    fine = bool(smoothed.abs().amax() < 0.75 * values.abs().amax())
    values = _reduced((smoothed if fine else values)[0], side)[0]
    signed = bool((values < 0).any())
    shares = values / values.abs().max() if signed else minmax(values)
    if fine:
        cut = float(shares.abs().quantile(0.99).clamp(1e-6, 1 - 1e-6))
        sizes = shares.abs()
        sizes = torch.where(sizes <= cut, _FULL * sizes / cut, 1 - (1 - _FULL) * (1 - sizes) / (1 - cut))
        shares = sizes * shares.sign()
    levels = 128 + 127 * shares if signed else 255 * shares
    text = base64.b64encode(levels.round().byte().numpy().tobytes()).decode()
    height, width = values.shape
    about = {"signed": signed, "fine": fine, "full": _FULL if fine else 1.0}
    return {"width": width, "height": height, "bytes": text, **about}


def _reduced(picture: Tensor, side: int) -> Tensor:
    """C×H×W with sides of at most ``side`` pixels; each new pixel is the mean of those that it covers."""
    height, width = picture.shape[1:]
    longest = max(height, width)
    if longest <= side:
        return picture
    size = [max(1, round(length * side / longest)) for length in (height, width)]
    return F.interpolate(picture[None], size, mode="area")[0]
