"""Tell whether two runs of a model gave the same output, up to rounding."""

import torch
from torch import Tensor

from captum_cams.engine.arranged import unread
from captum_cams.engine.layers import describe
from captum_cams.engine.replay import Tail
from captum_cams.engine.targets import wide

TOLERANCE = 1e-4
"""The largest allowed error of a shortcut, relative to the spread of the sample's scores."""


def bound(values: Tensor, half: bool) -> float:
    """Return how far apart equal scores may be, given the size and spread of ``values``."""
    rounding = 0.02 if half else 32 * torch.finfo(torch.float32).eps
    values = values[values.isfinite()]  # a model may set the logits of some classes to -inf
    return float(TOLERANCE * (values.max() - values.min()) + rounding * values.abs().max()) if len(values) else 0.0


def same(values: Tensor, expected: Tensor, within: float) -> bool:
    """Tell whether all values are within the bound ``within``; Inf and NaN must be where they are expected."""
    return bool(torch.isclose(values, expected, rtol=0, atol=within, equal_nan=True).all())


def check_read(tail: Tail, activation: Tensor, outputs: Tensor, half: bool) -> None:
    """Raise unless the tail reads the map, in case the layer has values beside it, such as the class token.

    Args:
        tail: the tail.
        activation: K×h×w, the map of one sample.
        outputs: the output of the sample, and its outputs with parts of the map switched off.
        half: whether they were computed in half precision, whose rounding may hide a small change.

    Raises:
        CAMError: if all outputs are the same.
    """
    beside = tail.layout is not None and tail.value[0].numel() > activation.numel()
    if not beside or not activation.any():
        return
    outputs = wide(outputs)
    rounding = 0.0 if half else 32 * torch.finfo(torch.float32).eps * float(outputs[0].abs().max())
    if same(outputs, outputs[0], rounding):
        name = describe(tail.rerun.call.network, tail.head.layer)
        raise unread(name, "the same scores with other values there, as if only other values were read")
