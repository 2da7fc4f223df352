"""The layout of a layer that the user named, proven once and remembered as long as the layer lives."""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from captum_cams.engine.answers import last_answers
from captum_cams.engine.call import Call
from captum_cams.engine.coverage import check_coverage
from captum_cams.engine.layers import describe
from captum_cams.engine.layout import CHANNELS_LAST, Layout
from captum_cams.engine.positions import Reading, change_of, may_hold_positions, plain, proven
from captum_cams.engine.response import corners, is_random
from captum_cams.errors import CAMError

_layouts: WeakKeyDictionary[nn.Module, dict[tuple[Any, ...], Layout | None]] = WeakKeyDictionary()
"""For each layer that was proven: its side and the size of the images (None for every size), and the layout."""

_MAYBE_WEIGHTS = (nn.Identity, nn.Dropout, nn.Softmax)
"""What returns the weights of an attention, N×heads×T×T; T may be in proportion to the image by chance."""


def known_layout(call: Call, layer: nn.Module, at_input: bool) -> Layout | None:
    """The layout of a layer for images of this size, if it was proven before; otherwise None."""
    return _layouts.get(layer, {}).get(_key(call, layer, at_input))


def remember_layout(call: Call, layer: nn.Module, at_input: bool, layout: Layout | None) -> None:
    """Keep a proven layout for later calls with images of this size."""
    # Only the grid of tokens depends on the size of the images.
    every_size = layout is None or layout is CHANNELS_LAST
    _layouts.setdefault(layer, {})[at_input, None if every_size else call.inputs[0].shape[2:]] = layout


def _key(call: Call, layer: nn.Module, at_input: bool) -> tuple[Any, ...]:
    general = (at_input, None)
    return general if general in _layouts.get(layer, {}) else (at_input, call.inputs[0].shape[2:])


def proven_layout(call: Call, layer: nn.Module, at_input: bool, shape: tuple[int, ...] | None) -> Layout | None:
    """Find the layout of a given layer.

    An output whose shape alone says N×K×h×w needs no proof. Otherwise the network runs on the first image and on its
    changed copies, in the first call only.

    Args:
        call: the user's call.
        layer: the layer.
        at_input: whether its input is meant.
        shape: the shape of its output or input; None if it is not known.

    Returns:
        The layout; None if the output is a map already, or it has another number of axes than maps and tokens.

    Raises:
        CAMError: if the axes are as many as those of a map, and it is not proven which are the positions.
    """
    size = tuple(call.inputs[0].shape[2:])
    if not size or (shape is not None and _is_map(shape, size, layer)):
        return None
    if _key(call, layer, at_input) not in _layouts.get(layer, {}):
        values = _values(call, layer, at_input)
        reading = None if values is None else _reading(values, size, layer)
        numbers = values is None or values.is_floating_point()  # others get an error of their own in the run
        if shape is None and values is not None:
            shape = (1, *values.shape[1:])
        if reading is None and numbers and shape and len(shape) == len(size) + 2 and not _is_map(shape, size, layer):
            raise _unproven(call, layer, shape)
        if reading is not None:
            check_coverage(call, layer, at_input, reading.size)
        remember_layout(call, layer, at_input, None if reading is None else reading.layout)
    return known_layout(call, layer, at_input)


def _is_map(shape: tuple[int, ...], size: tuple[int, ...], layer: nn.Module) -> bool:
    """Tell whether no layout is needed, because the shape says enough, or because there can be none."""
    return len(shape) < 3 or (plain(shape, size) and not isinstance(layer, _MAYBE_WEIGHTS))


def _values(call: Call, layer: nn.Module, at_input: bool) -> Tensor | None:
    """What the layer gives for the first image, its changed copies and the first image again.

    None unless it is one tensor for each.
    """
    image = call.inputs[0][:1]
    values = last_answers(call, layer, at_input, torch.cat((corners(image), image)))
    single = [value for value in values if value is not None and len(value) == 1]
    return torch.cat(single) if len(single) == len(values) else None


def _reading(values: Tensor, size: tuple[int, ...], layer: nn.Module) -> Reading | None:
    if not may_hold_positions(values, len(values), len(size)) or _is_map(tuple(values.shape), size, layer):
        return None
    weights = isinstance(layer, _MAYBE_WEIGHTS) and bool((values >= 0).all())
    if weights and torch.allclose(values.sum(-1), torch.ones(()).to(values), atol=1e-2):
        return None  # each row sums to 1, as only weights of an attention do
    answers, unchanged = values[:-1], values[[0, -1]]
    reading = proven(answers, size)
    # Tokens may be shuffled at random; a map N×K×h×w may change from run to run, as with dropout, and stays a map.
    shuffled = reading is not None and reading.layout is not None
    return None if shuffled and is_random(change_of(answers, size), change_of(unchanged, size)) else reading


def _unproven(call: Call, layer: nn.Module, shape: tuple[int, ...]) -> CAMError:
    name = describe(call.network, layer)
    return CAMError(
        f"layer {name} must hold positions of the image, as N×K×h×w or N×h×w×K, got {'×'.join(map(str, shape))}, whose "
        "axes do not answer to changed corners of the image (such as weights of an attention, a bias, or a network "
        "that takes one batch size only); pass another layer, layer=None, or say with reshape= how the output becomes "
        "N×K×h×w: reshape=lambda output: output if it is one already"
    )
