"""The layout of a layer that the user named, proven once and remembered as long as the layer lives."""

from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from captum_cams.engine.call import Call
from captum_cams.engine.layout import CHANNELS_LAST, Layout
from captum_cams.engine.positions import Reading, may_hold_positions, plain, proven
from captum_cams.engine.response import corners
from captum_cams.engine.trace import replaced, the_tensor

_layouts: WeakKeyDictionary[nn.Module, dict[tuple[Any, ...], Layout | None]] = WeakKeyDictionary()
"""For each layer that was proven: its side and the size of the images (None for every size), and the layout."""


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

    An output whose shape alone says N×K×h×w needs no proof. Otherwise the network runs once on the first image and its
    changed copies, in the first call only.

    Args:
        call: the user's call.
        layer: the layer.
        at_input: whether its input is meant.
        shape: the shape of its output or input; None if it is not known.

    Returns:
        The layout; None if the output is a map already, or no layout could be proven.
    """
    size = tuple(call.inputs[0].shape[2:])
    if not size or (shape is not None and plain(shape, size)):
        return None
    if _key(call, layer, at_input) not in _layouts.get(layer, {}):
        images, found = corners(call.inputs[0][:1]), list[Reading | None]()

        def look(given: Any) -> None:
            tensor = the_tensor(given)
            fits = tensor is not None and may_hold_positions(tensor, len(images), len(size))
            fits = fits and tensor is not None and not plain(tuple(tensor.shape), size)
            found.append(proven(tensor, size) if tensor is not None and fits else None)

        with (
            torch.no_grad(),
            replaced(layer, at_input, look),
            suppress(RuntimeError),
        ):  # it may take one batch size only
            call.rows(images, [0] * len(images)).output()
        reading = found[-1] if found else None
        remember_layout(call, layer, at_input, None if reading is None else reading.layout)
    return known_layout(call, layer, at_input)
