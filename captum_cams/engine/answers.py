"""What a layer gives for changed copies of the first image."""

from contextlib import suppress

import torch
from torch import Tensor, nn

from captum_cams.engine.call import Call
from captum_cams.engine.trace import replaced, the_tensor


def answers(call: Call, layer: nn.Module, at_input: bool, images: Tensor) -> list[Tensor | None]:
    """Run the network on changed copies of the first image, and keep what a layer gives for each.

    Args:
        call: the user's call.
        layer: the layer.
        at_input: whether its input is meant.
        images: R×C×H×W. They run one after another, because a network may take one batch size only.

    Returns:
        What the last call of the layer gives for each image; None if it does not give one tensor.
    """
    found: list[Tensor | None] = []
    kept: list[Tensor | None] = []
    with torch.no_grad(), replaced(layer, at_input, lambda given: kept.append(the_tensor(given))):
        for image in images.split(1):
            with suppress(RuntimeError):
                call.rows(image, [0]).output()
            found += kept[-1:] or [None]
            kept.clear()
    return found
