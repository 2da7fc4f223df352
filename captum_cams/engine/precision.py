"""Two precisions in one call: the model runs under its caller's autocast, the arithmetic on what it gave under none."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch


def autocast_of_caller(device: torch.device) -> Callable[[], AbstractContextManager[None]]:
    """Contexts in which autocast is what it is now, wherever they are entered."""
    kind = device.type
    dtype, enabled = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
    return lambda: torch.autocast(kind, dtype=dtype, enabled=enabled)


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """A context without autocast, in which products of float32 tensors are float32."""
    return torch.autocast(device.type, enabled=False)
