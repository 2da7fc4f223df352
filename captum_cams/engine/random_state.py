"""Restore torch's random states, which all threads of a process share."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from tqdm import TMonitor

_IN_PYTHON = {
    *(f"dropout{d}d" for d in (1, 2, 3)),
    *(f"fractional_max_pool{d}d{ending}" for d in (2, 3) for ending in ("", "_with_indices")),
    "gumbel_softmax",
    "multi_head_attention_forward",
}
"""Functions that draw random numbers and that torch implements in Python."""


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore torch's random states on exit, unless only other threads have drawn random numbers.

    Otherwise a thread that trains at the same time would draw the same numbers twice.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    before, cuda = torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in devices]
    # The thread of tqdm's progress bars draws nothing.
    others = [
        thread
        for thread in threading.enumerate()
        if thread.ident != threading.get_ident() and not isinstance(thread, TMonitor)
    ]
    draws = _Draws() if others else None
    try:
        with draws or nullcontext():
            yield
    finally:
        if draws is None or draws.seen:
            if not torch.equal(before, torch.get_rng_state()):
                torch.set_rng_state(before)
            for device, state in zip(devices, cuda, strict=True):
                torch.cuda.set_rng_state(state, device)


class _Draws(TorchFunctionMode):
    """Watches whether the calling thread calls a function that draws random numbers."""

    seen = False

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self.seen and _draws(getattr(func, "__name__", "")):
            self.seen = kwargs.get("training", True) and kwargs.get("generator") is None
        return func(*args, **kwargs)


@cache
def _draws(name: str) -> bool:
    packet: Any = getattr(torch.ops.aten, name, None)
    overloads = [getattr(packet, overload) for overload in packet.overloads()] if hasattr(packet, "overloads") else []
    return name in _IN_PYTHON or any(torch.Tag.nondeterministic_seeded in overload.tags for overload in overloads)
