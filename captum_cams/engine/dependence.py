"""Check that a layer shows the inputs of the model, and not its further arguments."""

from dataclasses import replace
from weakref import WeakSet

import torch
from torch import nn

from captum_cams.engine.answers import answers
from captum_cams.engine.call import Call
from captum_cams.engine.layers import Place, describe
from captum_cams.engine.response import other_pixels
from captum_cams.errors import CAMError

_dependent: WeakSet[nn.Module] = WeakSet()
"""The layers that were checked."""


def check_dependence(call: Call, place: Place) -> None:
    """Check, once for each layer, that what it gives in its last call depends on the inputs.

    This takes two runs of the first image. It is needed if the model gets further arguments, or if it calls the layer
    several times, as the shared part of a Siamese network.

    Args:
        call: the user's call.
        place: the layer.

    Raises:
        CAMError: if it does not depend on them.
    """
    layer = place.layer
    if layer in _dependent:
        return
    given = call.rows(call.inputs[0][:1], [0])
    changed = replace(given, inputs=tuple(map(other_pixels, given.inputs)))
    before, after = answers((given, changed), layer, place.at_input)
    same = [
        one is not None and other is not None and torch.equal(one, other)
        for one, other in zip(before, after, strict=False)
    ]
    if same and same[-1]:
        name = describe(call.network, layer)
        if all(same):
            raise CAMError(
                f"layer {name} must depend on the inputs, got the same values for other inputs; choose a layer that "
                "sees the images, or pass what it sees as inputs instead of additional_forward_args"
            )
        raise CAMError(
            f"the last call of layer {name} must depend on the inputs, got {len(same)} calls in one run, of which call "
            f"{', '.join(str(n + 1) for n, equal in enumerate(same) if not equal)} depends on them and the last does "
            "not; let the model call the layer on the images last, or compute the rest beforehand and keep it in a "
            "module of your own"
        )
    _dependent.add(layer)
