"""Prove where the positions of a layer lie: change one half of an image, and look which positions change most."""

import torch
from torch import Tensor

from captum_cams.engine.generators import generator_of

CONTRAST = 0.03
"""The least contrast that proves positions; axes without positions stay below 0.01 (``tests/engine/test_response.py``)."""


def halves(image: Tensor) -> Tensor:
    """Make the images of one proof: the image itself, and for each axis of its plane two copies with a changed half.

    Args:
        image: 1×C×H×W (or 1×C×T, 1×C×D×H×W).

    Returns:
        5×C×H×W (or 3×C×T, 7×C×D×H×W): the image, then with another upper half, lower half, left half, right half. The
        changed pixels are uniform noise between the smallest and the largest value of the image.
    """
    low, high = (float(value) for value in image.aminmax()) if not image.is_complex() else (0.0, 1.0)
    if low == high:  # a constant image has no spread of its own
        low, high = (low - 1, high + 1) if image.is_floating_point() else (0.0, 255.0)
    noise = torch.rand(image.shape, generator=generator_of(0))
    if image.is_floating_point():
        changed = (low + (high - low) * noise).to(image)
    else:
        changed = (low + (high + 1 - low) * noise).floor().clamp(max=high).to(image)
    rows = [image]
    for axis in range(2, image.ndim):
        side = image.shape[axis]
        for start in (0, side - side // 2):
            row = image.clone()
            row.narrow(axis, start, side // 2).copy_(changed.narrow(axis, start, side // 2))
            rows.append(row)
    return torch.cat(rows)


def contrast(change: Tensor) -> float:
    """Measure how well the positions of a map are those of the image.

    Args:
        change: by how much the map differs from that of the first image of :func:`halves`, for each of the others: as
            many times h×w.

    Returns:
        For each axis: the share of the change in the first half of the image in all change, its mean in the first half
        of the map minus its mean in the second; the least of the axes. 1 if each half of the map sees its own half of
        the image alone, about 0 if the axis has nothing to do with the image. Axes of length 1 do not count; 0 if all
        have this length.
    """
    found = []
    for axis, side in enumerate(change.shape[1:]):
        if side > 1:
            first, both = change[2 * axis], change[2 * axis] + change[2 * axis + 1]
            share = torch.where(both > 0, first / both, 0.5).movedim(axis, 0).flatten(1).mean(1)
            found.append(float(share[: side // 2].mean() - share[side - side // 2 :].mean()))
    return min(found, default=0.0)
