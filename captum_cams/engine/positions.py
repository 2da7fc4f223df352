"""Read from a layer's output where its positions are: N×K×h×w, N×h×w×K, or tokens N×(prefix + h·w)×K."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from torch import Tensor

from captum_cams.engine.layout import CHANNELS_LAST, Layout, token_grid
from captum_cams.engine.response import CONTRAST, changes, contrast

_PREFIXES = range(17)  # DINOv2 and its relatives have at most 16 registers behind the class token
_SIMILAR = 0.85  # a reading with a longer prefix must have more contrast than this, or the shorter prefix counts


@dataclass(frozen=True)
class Reading:
    """One way to read the output of a layer as a map.

    Args:
        word: the axes, such as ``N×(1+h·w)×K``.
        size: the size of the map, h×w.
        layout: the conversion; None if the output already is a map.
    """

    word: str
    size: tuple[int, ...]
    layout: Layout | None = None

    def to_map(self, values: Tensor) -> Tensor:
        """Arrange the values of the layer as a map N×K×h×w."""
        return values if self.layout is None else self.layout.to_map(values)


def readings(shape: tuple[int, ...], image: tuple[int, ...]) -> Iterator[Reading]:
    """List all ways in which an output of this shape may hold positions of the image; a shorter prefix comes first.

    Args:
        shape: the shape of the output, with the samples first.
        image: the size of the image, H×W (T, or D×H×W).
    """
    axes = ("t", "h×w", "d×h×w")[len(image) - 1]
    if len(shape) == len(image) + 2:
        yield Reading(f"N×K×{axes}", shape[2:])
        yield Reading(f"N×{axes}×K", shape[1:-1], CHANNELS_LAST)
    elif len(shape) == 3:
        for prefix in _PREFIXES:
            for size in _grids(shape[1] - prefix, image):
                tokens = axes.replace("×", "·")
                yield Reading(f"N×({prefix}+{tokens})×K" if prefix else f"N×({tokens})×K", size, token_grid(prefix, size))


def proven(values: Tensor, image: tuple[int, ...]) -> Reading | None:
    """Tell which of the readings is right, or None if none is.

    Args:
        values: the output of the layer for the images of :func:`corners`.
        image: the size of the image.
    """
    shape = tuple(values.shape)
    first, last = (changes(values, axis) for axis in (1, values.ndim - 1))
    found = [
        (reading, max(contrast(reading.to_map(change)[:, 0]) for change in (last if reading.layout else first)))
        for reading in readings(shape, image)
    ]
    best = max((value for _, value in found), default=0.0)
    if not best > CONTRAST:
        return None
    # If the grid fits, so does the grid without its first row: the shorter prefix is the right one.
    return next(reading for reading, value in found if value >= _SIMILAR * best)


def plain(shape: tuple[int, ...], image: tuple[int, ...]) -> bool:
    """Tell whether the shape alone says that an output is N×K×h×w: its last axes are the image by a whole stride."""
    if len(shape) != len(image) + 2:
        return False
    return _by_whole_stride(shape[2:], image) and not _by_whole_stride(shape[1:-1], image)


def _by_whole_stride(size: tuple[int, ...], image: tuple[int, ...]) -> bool:
    strides = range(1, max(image) + 1)
    return any(all(abs(side - full / s) < 2 for side, full in zip(size, image, strict=True)) for s in strides)


def _grids(count: int, image: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """All grids of so many positions with the proportions of the image, as strides and their rounding give them."""
    if count < 2:
        return
    if len(image) == 1:
        yield (count,)
        return
    for height in range(1, count + 1):
        if count % height == 0:
            if len(image) == 3:  # the stride in depth or time is free
                for size in _grids(count // height, image[1:]):
                    yield (height, *size)
            elif _in_proportion((height, count // height), image):
                yield height, count // height


def _in_proportion(size: tuple[int, ...], image: tuple[int, ...]) -> bool:
    if all(full % side == 0 for side, full in zip(size, image, strict=True)):
        return True  # the patches may be oblong
    least = max(full / (side + 1) for side, full in zip(size, image, strict=True))
    most = min(full / (side - 1) if side > 1 else inf for side, full in zip(size, image, strict=True))
    return least < most
