"""Find which part of a photograph the user's preprocessing shows to the model."""

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from captum_cams.errors import CAMError, brief, shape_of
from captum_cams.visual.overlays import Region

Prepare = Callable[[Any], Tensor]
"""Turns a photograph into what the model takes, C×H×W: ``weights.transforms()`` of torchvision, for example."""


def covered_region(prepare: Prepare, width: int, height: int) -> Region:
    """Find the part of a photograph that the preprocessing keeps, by pictures whose colours are their coordinates.

    Red grows from the left to the right and green from the top to the bottom. What comes out says for each pixel where
    it was. A black and a white picture undo the normalisation.

    Args:
        prepare: the user's preprocessing.
        width: of the photograph, in pixels.
        height: of the photograph, in pixels.

    Returns:
        (x0, y0, x1, y1) in pixels of the photograph.

    Raises:
        CAMError: the preprocessing does more than resize, crop and normalise, or differs from call to call.
    """
    across = ((torch.arange(width) + 0.5) / width).expand(height, width)
    down = ((torch.arange(height) + 0.5) / height)[:, None].expand(height, width)
    ramps = torch.stack((across, down, torch.zeros(height, width)))
    tests = (torch.zeros_like(ramps), torch.ones_like(ramps), ramps, ramps)
    black, white, first, second = (prepared(prepare, to_pil_image((255 * one).round().byte())) for one in tests)
    if first.shape[0] != 3 or not torch.equal(first, second):
        raise _unknown("differs from call to call" if first.shape[0] == 3 else "does not give three channels")
    places = ((first - black) / (white - black))[:2].double()
    x0, x1 = _ends(places[0].mean(0), places[0], width)
    y0, y1 = _ends(places[1].mean(1), places[1].T, height)
    return x0, y0, x1, y1


def prepared(prepare: Prepare, photograph: Image.Image) -> Tensor:
    """The photograph as the model takes it, C×H×W.

    Raises:
        CAMError: the preprocessing gives something else.
    """
    found = prepare(photograph)
    if isinstance(found, Tensor) and found.ndim == 4 and len(found) == 1:
        found = found[0]
    if not isinstance(found, Tensor) or found.ndim != 3:
        got = shape_of(found) if isinstance(found, Tensor) else brief(found)
        raise CAMError(f"prepare must turn a photograph into a tensor C×H×W, got {got}")
    return found.detach().cpu()


def _ends(line: Tensor, lines: Tensor, length: int) -> tuple[int, int]:
    """The first and the last pixel, exclusive, of a line of places, each a share of the length."""
    steps = torch.arange(len(line), dtype=torch.float64)
    steps, middle = steps - steps.mean(), float(line.mean())
    slope = float((steps * (line - middle)).sum() / (steps**2).sum().clamp(min=1))
    off = float((lines - (middle + slope * steps)).abs().max())
    half = slope * len(line) / 2
    first, last = (middle - half) * length, (middle + half) * length
    slack = 1 + 0.01 * length
    if not slope > 0 or off > 0.02 or first < -slack or last > length + slack:
        raise _unknown("flips, turns, pads or bends the photograph")
    return max(0, round(first)), min(length, round(last))


def _unknown(what: str) -> CAMError:
    return CAMError(
        f"prepare must resize, crop and normalise only, so that the place of the map is known, but it {what}; pass "
        "region=(x0, y0, x1, y1) as well, the part of the photograph that the model sees"
    )
