"""What a layer gives for changed copies of the first image."""

from collections.abc import Iterable
from contextlib import suppress

import torch
from torch import Tensor, nn

from captum_cams.engine.call import Call
from captum_cams.engine.trace import replaced, the_tensor


def answers(calls: Iterable[Call], layer: nn.Module, at_input: bool) -> list[list[Tensor | None]]:
    """Run the network once for each request, and keep what a layer gives.

    Args:
        calls: requests with one sample, because a network may take one batch size only.
        layer: the layer.
        at_input: whether its input is meant.

    Returns:
        For each request what each call of the layer gives, the last call last; None if it does not give one tensor.
    """
    found: list[list[Tensor | None]] = []
    kept: list[Tensor | None] = []
    with torch.no_grad(), replaced(layer, at_input, lambda given: kept.append(the_tensor(given))):
        for call in calls:
            with suppress(RuntimeError):
                call.output()
            found.append([*kept])
            kept.clear()
    return found


def last_answers(call: Call, layer: nn.Module, at_input: bool, images: Tensor) -> list[Tensor | None]:
    """What the last call of a layer gives for changed copies R×C×H×W of the first image; None if it gives nothing."""
    single = (call.rows(image, [0]) for image in images.split(1))
    return [tensors[-1] if tensors else None for tensors in answers(single, layer, at_input)]
