"""Run the user's model and leave it as it was."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from captum_cams.engine.kept import Kept
from captum_cams.engine.later_backward import backward_later
from captum_cams.engine.process_wide import ProcessWide
from captum_cams.engine.random_state import random_state_kept
from captum_cams.engine.torch_internals import compiled_module, is_compiled
from captum_cams.engine.trace import running
from captum_cams.engine.turn import Turn


def unwrap(forward_func: Callable[..., Any]) -> Callable[..., Any]:
    """Return the eager network inside ``torch.compile``, DataParallel and DistributedDataParallel.

    Compiled code ignores hooks that are added later. The eager network gives the same maps.
    """
    while isinstance(forward_func, nn.Module):
        inner = compiled_module(forward_func)
        if inner is None and isinstance(forward_func, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = forward_func.module
        if inner is None:
            break
        forward_func = inner
    return forward_func


def module_of(forward_func: Callable[..., Any]) -> nn.Module | None:
    """Return the eager network, also if ``forward_func`` is a method of it; None for any other function."""
    model = unwrap(forward_func)
    if not isinstance(model, nn.Module):
        model = unwrap(getattr(model, "__self__", model))
    return model if isinstance(model, nn.Module) else None


def modules_of(forward_func: Callable[..., Any]) -> list[nn.Module] | None:
    """List all modules of the network, as :func:`module_of` finds it; None for any other function."""
    model = module_of(forward_func)
    return None if model is None else list(model.modules())


@contextmanager
def untouched(forward_func: Callable[..., Any], differentiable: bool = False) -> Iterator[list[nn.Module] | None]:
    """Run in eval mode, without gradients and outside inference mode; on exit restore all that a run can change.

    The context yields :func:`modules_of` the model. It restores, also after an exception: the state of the modules
    (see :class:`Kept`), torch's random states, gradient mode, inference mode, and the autocast cache setting. It never
    writes to parameters, ``.grad`` or ``requires_grad``. Other threads that want to explain a module of this network
    wait until the exit.

    With ``differentiable``, it runs with gradients instead, and the graph of what runs inside may outlive the context.
    """
    modules = modules_of(forward_func)
    with ExitStack() as stack:
        turn = stack.enter_context(Turn())
        turn.take([_FUNCTIONS] if modules is None else modules)
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(random_state_kept())
        stack.enter_context(_without_autocast_cache())
        kept = stack.enter_context(Kept(copies_buffers=differentiable))
        if modules is None:
            stack.enter_context(_kept_when_called(turn, kept))
        else:
            kept.keep(modules)
            if any(is_compiled(module) for module in modules):
                stack.enter_context(_EAGER)
        if differentiable:
            stack.enter_context(backward_later())
        yield modules


_FUNCTIONS = object()
"""Represents the modules of all plain functions, which are not known before the run."""


@contextmanager
def _kept_when_called(turn: Turn, kept: Kept) -> Iterator[None]:
    # The modules of a plain function are not known, so each is saved when it is called, with all modules inside it.
    seen: set[nn.Module] = set()

    def enter(module: nn.Module) -> None:
        if module not in seen:
            modules = list(module.modules())
            turn.take(modules)
            kept.keep(modules)
            seen.update(modules)

    with running(None, enter):
        yield


_EAGER = ProcessWide(lambda: torch.compiler.set_stance("force_eager"))
"""Switches off compiled code."""


@contextmanager
def _without_autocast_cache() -> Iterator[None]:
    # Under autocast, a run without gradients would leave half-precision weights without a graph in the cache. A
    # training step that uses these cached weights would silently lose its weight gradients.
    enabled = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(enabled)
