"""The model runs under the user's autocast setting; the arithmetic on its results runs without autocast."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch


def autocast_of_caller(device: torch.device) -> Callable[[], AbstractContextManager[None]]:
    """Return a function that makes contexts with the present autocast setting."""
    kind = device.type
    dtype, enabled = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
    return lambda: torch.autocast(kind, dtype=dtype, enabled=enabled)


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Make a context without autocast, in which products of float32 tensors are float32."""
    return torch.autocast(device.type, enabled=False)
