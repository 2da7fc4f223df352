"""Small copies of photographs and maps, as texts that a page decodes."""

import base64
import io
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

PHOTOGRAPH, MAP = 320, 64
"""The longest side of a photograph and of a map in a page, in pixels; larger ones are reduced."""


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

    If the map has both signs, 0 is the negative of its largest magnitude instead, so that the value 0 is in the middle.

    Args:
        map_: h×w.
        side: the longest side of the result in pixels.

    Returns:
        "width", "height", "bytes" in base64 row by row, "signed", and the values "low" and "high" of the bytes 0 and
        255.
    """
    values = _reduced(map_.detach().float().cpu()[None], side)[0]
    low, high = float(values.min()), float(values.max())
    signed = low < 0 < high
    if signed:
        high = max(-low, high)
        low = -high
    scaled = (values - low) / (high - low) if high > low else torch.zeros_like(values)
    text = base64.b64encode((scaled * 255).round().byte().numpy().tobytes()).decode()
    height, width = values.shape
    return {"width": width, "height": height, "bytes": text, "signed": signed, "low": low, "high": high}


def _reduced(picture: Tensor, side: int) -> Tensor:
    """C×H×W with sides of at most ``side`` pixels; each new pixel is the mean of those that it covers."""
    height, width = picture.shape[1:]
    longest = max(height, width)
    if longest <= side:
        return picture
    size = [max(1, round(length * side / longest)) for length in (height, width)]
    return F.interpolate(picture[None], size, mode="area")[0]
