"""Prove where the positions of a layer lie: change one corner of an image, and look which positions change most."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from captum_cams.engine.generators import generator_of

_NOISE = 0.5  # more of the change by a corner than this may not come without any change of the image
_SAMPLED = 64  # the largest number of positions from which the common change is read


def corners(image: Tensor) -> Tensor:
    """Make the images of one proof: the image itself, and for each of its corners a copy in which it is changed.

    Args:
        image: 1×C×H×W (or 1×C×T, 1×C×D×H×W).

    Returns:
        5×C×H×W (or 3×C×T, 9×C×D×H×W): the image, then with another upper left quadrant, upper right, lower left, lower
        right. The changed pixels are those of :func:`other_pixels`.
    """
    changed, rows = other_pixels(image), [image]
    for corner in regions(image.shape[2:]):
        row = image.clone()
        row[corner] = changed[corner]
        rows.append(row)
    return torch.cat(rows)


def other_pixels(image: Tensor) -> Tensor:
    """Make uniform noise between the smallest and the largest value of an image, in its form."""
    image = image.detach()
    low, high = (float(value) for value in image.aminmax())
    if low == high:  # a constant image has no spread of its own
        low, high = (low - 1, high + 1) if image.is_floating_point() else (0.0, 255.0)
    noise = torch.rand(image.shape, generator=generator_of(0))
    if image.is_floating_point():
        return (low + (high - low) * noise).to(image)
    return (low + (high + 1 - low) * noise).floor().clamp(max=high).to(image)


def regions(sides: tuple[int, ...]) -> list[tuple[Any, ...]]:
    """The corners of an image or a map, as indices of its last axes: 2 of T, 4 of H×W, 8 of D×H×W."""
    # Less than half of the positions must change, so that the others show what all have in common.
    lengths = [max(1, side // 2 if len(sides) > 1 else side // 3) for side in sides]
    ends = [(slice(0, length), slice(side - length, side)) for side, length in zip(sides, lengths, strict=True)]
    return [(..., *corner) for corner in product(*ends)]


@dataclass(frozen=True, eq=False)
class Change:
    """By how much each position of a layer changes with each corner of the image.

    There are two measures: the sum over the channels, and the same beyond the change that the positions have in common,
    which comes from attention or pooling.
    """

    answers: bool
    """Whether the layer changes at all."""
    first: Tensor | None
    """2×R×1×… for R corners, if the first axis after the samples may hold the channels."""
    last: Tensor | None
    """2×R×…×1, if the last axis may hold the channels."""

    @classmethod
    def of(cls, values: Tensor, first: bool, last: bool) -> "Change":
        """Measure the change in the output of a layer for the images of :func:`corners`, (1 + R)×….

        Args:
            values: the output.
            first: whether the first axis after the samples may hold the channels.
            last: whether the last axis may hold them.
        """
        change = values.detach()[1:] - values.detach()[:1]
        return cls(
            bool(change.any()),
            _summed(change, 1) if first else None,
            _summed(change, change.ndim - 1) if last else None,
        )

    @property
    def total(self) -> float:
        """The sum over all positions, as a mean over the corners."""
        known = self.first if self.first is not None else self.last
        return 0.0 if known is None else float(known[0].sum() / known.shape[1])

    @classmethod
    def joined(cls, parts: Sequence["Change"]) -> "Change":
        """Join what was measured for single corners."""
        first, last = [part.first for part in parts], [part.last for part in parts]
        return cls(any(part.answers for part in parts), _joined(first), _joined(last))


def is_random(change: Change, unchanged: Change | None) -> bool:
    """Tell whether a layer changes from run to run as with the corners of the image, so that these prove nothing.

    Args:
        change: how it changes with the corners.
        unchanged: how it changes from one run to another run of the same image; None if this is not known.
    """
    return unchanged is not None and unchanged.total > _NOISE * change.total


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known, 1) if known else None


def _summed(change: Tensor, channels: int) -> Tensor:
    moved = change.movedim(channels, -1)
    flat = moved.flatten(1, -2)
    common = flat[:, :: -(-flat.shape[1] // _SAMPLED)].median(1, keepdim=True).values
    both = torch.stack([part.abs().sum(-1, dtype=torch.float32) for part in (flat, flat - common)])
    return both.unflatten(2, moved.shape[1:-1]).unsqueeze(channels + 1)


def contrast(change: Tensor) -> float:
    """Measure how well the positions of a map are those of the image.

    Args:
        change: for each corner, how much each position changes with it: 4×h×w (2×t, 8×d×h×w).

    Returns:
        For each axis: the share that the corners in the first half of the image have in the change; its mean in the
        first half of the map minus its mean in the second; the least of the axes. 1 if each corner of the map sees its
        own corner of the image alone, about 0 if the axis has nothing to do with the image. Axes of length 1 do not
        count; 0 if all have this length.
    """
    found = []
    cells = change.unflatten(0, [2] * (change.ndim - 1))
    both = change.sum(0)
    for axis, side in enumerate(change.shape[1:]):
        if side > 1:
            first = cells.select(axis, 0).flatten(0, change.ndim - 3).sum(0) if change.ndim > 2 else cells[0]
            share = torch.where(both > 0, first / both, 0.5).movedim(axis, 0).reshape(side, -1).mean(1)
            found.append(float(share[: side // 2].mean() - share[side - side // 2 :].mean()))
    return min(found, default=0.0)
