"""Restore torch's random states, which all threads of a process share, or draw without them."""

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import nn
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


class DrawnFrom(TorchFunctionMode):
    """Lets the calling thread draw from its own generator in calls that name none, so that no other thread notices.

    Only for a function that takes no generator, such as ``rand_like`` in some versions of torch, the state of the
    generator is torch's own during this one call, and a thread that draws in the same moment gets other numbers.

    Args:
        generator: a generator on the CPU.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._generator = generator

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("generator") is not None or not (_draws(getattr(func, "__name__", "")) or _initialises(func)):
            return func(*args, **kwargs)
        try:
            return func(*args, **kwargs | {"generator": self._generator})
        except TypeError:  # it takes no generator
            with _ONE_AT_A_TIME, torch.random.fork_rng(devices=[]):
                torch.set_rng_state(self._generator.get_state())
                try:
                    return func(*args, **kwargs)
                finally:
                    self._generator.set_state(torch.get_rng_state())


_ONE_AT_A_TIME = threading.Lock()


def _initialises(func: Callable[..., Any]) -> bool:
    """Whether this is a function of ``torch.nn.init`` that draws random numbers."""
    return getattr(func, "__module__", "") == nn.init.__name__ and "generator" in inspect.signature(func).parameters


@cache
def _draws(name: str) -> bool:
    packet: Any = getattr(torch.ops.aten, name, None)
    overloads = [getattr(packet, overload) for overload in packet.overloads()] if hasattr(packet, "overloads") else []
    return name in _IN_PYTHON or any(torch.Tag.nondeterministic_seeded in overload.tags for overload in overloads)
