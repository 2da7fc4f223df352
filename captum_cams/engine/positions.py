"""Read from a layer's output where its positions are: N×K×h×w, N×h×w×K, or tokens N×(prefix + h·w)×K."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import inf, prod

from torch import Tensor

from captum_cams.engine.layout import CHANNELS_LAST, Layout, token_grid
from captum_cams.engine.response import Change, contrast

_PREFIXES = range(17)  # DINOv2 and its relatives have at most 16 registers behind the class token
_SHORT = 2  # the class token and the distillation token; more are registers
_SUFFIXES = (1, 2)
_CONTRAST = 0.03  # the least contrast that proves positions; axes without positions seldom reach it
_SIMILAR = 0.85  # a reading with a longer prefix must have more contrast than this, or the shorter prefix counts
_OBLONG = 2  # the largest proportion of the strides of two axes


@dataclass(frozen=True)
class Reading:
    """One way to read the output of a layer as a map.

    Args:
        word: the axes, such as ``N×(1+h·w)×K``.
        size: the size of the map, h×w.
        layout: the conversion; None if the output already is a map.
        prefix: the number of tokens before the positions.
    """

    word: str
    size: tuple[int, ...]
    layout: Layout | None = field(default=None, compare=False)
    prefix: int = 0

    def to_map(self, values: Tensor) -> Tensor:
        """Arrange the values of the layer as a map N×K×h×w."""
        return values if self.layout is None else self.layout.to_map(values)


@lru_cache(1024)
def readings(shape: tuple[int, ...], image: tuple[int, ...]) -> tuple[Reading, ...]:
    """List all ways in which an output of this shape may hold positions of the image; a shorter prefix comes first.

    Args:
        shape: the shape of the output for one sample.
        image: the size of the image, H×W (T, or D×H×W).
    """
    axes = ("t", "h×w", "d×h×w")[len(image) - 1]
    if len(shape) == len(image) + 1:
        both = ((f"N×K×{axes}", shape[1:], None), (f"N×{axes}×K", shape[:-1], CHANNELS_LAST))
        return tuple(Reading(word, size, layout) for word, size, layout in both if _in_scale(size, image))
    return tuple(_token_readings(shape[0], axes.replace("×", "·"), image)) if len(shape) == 2 else ()


def _token_readings(count: int, axes: str, image: tuple[int, ...]) -> Iterator[Reading]:
    short = False
    for prefix in _PREFIXES:
        if short and prefix > _SHORT:
            break  # among so many prefixes, one fits any number of tokens
        word = f"N×({prefix}+{axes})×K" if prefix else f"N×({axes})×K"
        for size in _grids(count - prefix, image):
            if prefix <= prod(size):
                short = True
                yield Reading(word, size, token_grid(prefix, size), prefix)
    for suffix in _SUFFIXES:
        for size in _grids(count - suffix, image):
            yield Reading(f"N×({axes}+{suffix})×K", size, token_grid(0, size, suffix))


def may_hold_positions(tensor: Tensor, rows: int, axes: int) -> bool:
    """Tell whether a tensor may hold positions at all: numbers with the samples first, and at most one axis more."""
    shape = tensor.shape
    return tensor.is_floating_point() and 3 <= tensor.ndim <= axes + 2 and shape[0] == rows and tensor.numel() > 0


def change_of(values: Tensor, image: tuple[int, ...]) -> Change:
    """Measure how an output changes with the corners of the image, as far as its readings need it.

    Args:
        values: the output for the images of :func:`corners`.
        image: the size of the image.
    """
    layouts = [reading.layout for reading in readings(tuple(values.shape[1:]), image)]
    return Change.of(values, None in layouts, any(layout is not None for layout in layouts))


def contrasts(shape: tuple[int, ...], image: tuple[int, ...], change: Change) -> dict[Reading, float]:
    """Measure how well each reading fits.

    Args:
        shape: the shape of the output of the layer.
        image: the size of the image.
        change: how the output changes with each corner of the image.
    """
    found = {}
    for reading in readings(tuple(shape[1:]), image):
        parts = change.first if reading.layout is None else change.last
        if parts is not None:
            found[reading] = max(contrast(reading.to_map(part)[:, 0]) for part in parts)
    return found


def likely(found: Iterable[Mapping[Reading, float]]) -> Reading | None:
    """Tell which reading fits outputs of one shape best; they are tokens of one network, or one output alone.

    Args:
        found: for each output, the contrast of each reading.
    """
    total: dict[Reading, float] = {}
    for values in found:
        for reading, value in values.items():
            total[reading] = total.get(reading, 0.0) + max(value, 0.0)
    best = max(total.values(), default=0.0)
    # If the grid fits, so does the grid without its first row: the shorter prefix is the right one.
    chosen = next((reading for reading, value in total.items() if value >= _SIMILAR * best), None)
    if chosen is None:
        return None
    # A shift by one token hardly lowers the contrast, so tokens before and after a grid of one size are compared.
    return max((reading for reading in total if reading.size == chosen.size), key=lambda reading: total[reading])


def is_proven(reading: Reading, value: float, shape: tuple[int, ...], image: tuple[int, ...]) -> bool:
    """Tell whether a contrast proves a reading of an output of this shape."""
    if 1 in reading.size:  # an axis that proves nothing
        return value > 3 * _CONTRAST
    # Where the shape says it too, a trace is enough: each position of a deep network sees nearly the whole image.
    return value > (_CONTRAST / 20 if reading.layout is None and plain(shape, image) else _CONTRAST)


def proven(values: Tensor, image: tuple[int, ...]) -> Reading | None:
    """Tell which of the readings is right, or None if none is.

    Args:
        values: the output of the layer for the images of :func:`corners`.
        image: the size of the image.
    """
    found = contrasts(tuple(values.shape), image, change_of(values, image))
    reading = likely([found])
    fits = reading is not None and is_proven(reading, found[reading], tuple(values.shape), image)
    return reading if fits else None


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
    if not _in_scale(size, image):
        return False
    if all(full % side == 0 for side, full in zip(size, image, strict=True)):
        return True  # the patches may be oblong
    if len({*image}) == 1:
        return len({*size}) == 1
    least = max(full / (side + 1) for side, full in zip(size, image, strict=True))
    most = min(full / (side - 1) if side > 1 else inf for side, full in zip(size, image, strict=True))
    return least < most


def _in_scale(size: tuple[int, ...], image: tuple[int, ...]) -> bool:
    """Whether height and width shrink by about the same factor; depth or time may shrink by any."""
    if any(side > full for side, full in zip(size, image, strict=True)):
        return False
    plane, full = size[-2:], image[-2:]
    if len(plane) < 2 or max(plane) == min(plane) == 1:
        return True
    strides = sorted(whole / side for side, whole in zip(plane, full, strict=True))
    if 1 in plane:  # only the rounding of a really oblong image leaves one position on one axis alone
        return max(full) >= _OBLONG * min(full) and strides[1] <= _OBLONG * strides[0]
    return strides[1] <= _OBLONG * strides[0]
