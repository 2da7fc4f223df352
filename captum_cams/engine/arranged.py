"""Arrange the values of a layer as a map N×K×h×w, by a layout that is given, known or proven here."""

from dataclasses import replace

import torch
from torch import Tensor

from captum_cams.engine.call import Call
from captum_cams.engine.dependence import check_dependence
from captum_cams.engine.layers import Place, describe
from captum_cams.engine.proofs import known_layout, proven_layout
from captum_cams.errors import CAMError, check_finite, shape_of


def settled(call: Call, place: Place, shape: tuple[int, ...] | None = None) -> Place:
    """The same place with its layout.

    Args:
        call: the user's call.
        place: a layer, whose layout may be unknown.
        shape: the shape of its values, if it is known. It may say without a run that they are a map.

    Returns:
        The place; its layout is None if the values are a map already, or if no layout could be proven.

    Raises:
        CAMError: as :func:`check_dependence`, if the model gets further arguments that the layer may see instead.
    """
    layer, at_input = place.layer, place.at_input
    with torch.no_grad():
        if len(call.extra):
            check_dependence(call, place)
        layout = place.layout or known_layout(call, layer, at_input) or proven_layout(call, layer, at_input, shape)
    return replace(place, layout=layout)


def arranged(call: Call, place: Place, values: Tensor, what: str) -> Tensor:
    """Arrange values of a layer as a map.

    Args:
        call: the user's call.
        place: the layer with its layout, as :func:`settled` gives it.
        values: the values, such as activations.
        what: their name for messages.

    Returns:
        The map N×K×h×w, with as many positions as there are axes in the inputs.

    Raises:
        CAMError: if they make no such map, or they contain NaN or Inf.
    """
    name, images = describe(call.network, place.layer), call.inputs[0]
    found = values if place.layout is None else place.layout.to_map(values)
    if found.ndim != images.ndim or found.ndim < 3 or found.shape[0] != images.shape[0]:
        form = "×".join("NK" + "dhw"[-(images.ndim - 2) :]) if images.ndim in (4, 5) else "N×K×t"
        raise CAMError(
            f"layer {name} must give {form} with N = {images.shape[0]} for inputs {shape_of(images)}, got "
            f'{shape_of(found)}; choose a layer with a spatial map, or pass reshape= ("tokens" for ViT, '
            '"channels_last" for Swin, or a function)'
        )
    check_finite(f"{what} of layer {name}", found.detach())
    return found


def arranged_back(call: Call, place: Place, values: Tensor, what: str) -> Tensor:
    """Arrange what comes back from the score to a layer, such as a gradient or relevance, as a map.

    Args:
        call: as in :func:`arranged`.
        place: as in :func:`arranged`.
        values: what came back.
        what: as in :func:`arranged`.

    Raises:
        CAMError: as in :func:`arranged`, or if all of it is at values that are not in the map.
    """
    found = arranged(call, place, values, what)
    if values.any() and not found.any():
        raise unread(describe(call.network, place.layer), f"{what} only at values that the map leaves out")
    return found


def unread(name: str, found: str) -> CAMError:
    """The error if the score does not read the map of a layer."""
    return CAMError(
        f"the score must depend on the map of layer {name}, got {found} (the class token); choose a layer before the "
        "last attention, such as the first norm of the last block"
    )
