"""The context in which every run of a user's model takes place."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook


def unwrap(forward_func: Callable[..., Any]) -> Callable[..., Any]:
    """The eager, single-device network inside ``torch.compile``, DataParallel and DistributedDataParallel.

    Hooks added after compilation are ignored by compiled code, and the wrapped network gives the same maps.
    """
    while isinstance(forward_func, nn.Module):
        inner = getattr(forward_func, "_orig_mod", None)
        if inner is None and isinstance(forward_func, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = forward_func.module
        if inner is None:
            break
        forward_func = inner
    return forward_func


@contextmanager
def untouched(forward_func: Callable[..., Any]) -> Iterator[None]:
    """Run in eval mode, without gradients, outside inference mode; on exit put back all that a run can change.

    Put back, also after an exception: ``training`` flags module by module, buffers, torch's random states,
    gradient and inference mode, and the autocast cache setting. Parameters, ``.grad`` and ``requires_grad``
    are never written to.
    """
    model = unwrap(forward_func)
    if not isinstance(model, nn.Module):
        model = getattr(model, "__self__", model)
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    cuda = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.random.fork_rng(devices=cuda))
        stack.enter_context(_without_autocast_cache())
        stack.enter_context(_buffers_kept(modules))
        stack.enter_context(_eval_flags(modules) if modules else _eval_flags_of_called_modules())
        if any(_compiled(module) for module in modules):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def _compiled(module: nn.Module) -> bool:
    # Lightning compiles the forward method of a module in its place.
    forward = vars(module).get("forward")
    inside = getattr(module, "_compiled_call_impl", None) or hasattr(module, "_orig_mod")
    return bool(inside) or hasattr(forward, "_torchdynamo_orig_callable")


@contextmanager
def _without_autocast_cache() -> Iterator[None]:
    # Under autocast a run without gradients would leave half-precision weights without a graph in the cache,
    # and the training step that finds them there would silently lose its weight gradients.
    enabled = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(enabled)


@contextmanager
def _eval_flags(modules: list[nn.Module]) -> Iterator[None]:
    # The flag is written directly: a user's own train() or eval() may do more than set it.
    training = [module for module in modules if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def _eval_flags_of_called_modules() -> Iterator[None]:
    # A plain function hides its modules, so each is switched when it is called.
    switched: list[nn.Module] = []

    def to_eval(module: nn.Module, args: Any) -> None:
        if module.training:
            module.training = False
            switched.append(module)

    handle = register_module_forward_pre_hook(to_eval)
    try:
        yield
    finally:
        handle.remove()
        for module in switched:
            module.training = True


@contextmanager
def _buffers_kept(modules: list[nn.Module]) -> Iterator[None]:
    # torch.nn's own modules write no buffer in eval mode; only foreign modules need a copy.
    saved: list[tuple[nn.Module, str, Tensor | None, Tensor | None]] = [
        (module, name, buffer, None if buffer is None else buffer.detach().clone())
        for module in modules
        if not type(module).__module__.startswith("torch.nn.")
        for name, buffer in module._buffers.items()
    ]
    versions = [None if buffer is None else buffer._version for _, _, buffer, _ in saved]
    try:
        yield
    finally:
        for (module, name, buffer, copy), version in zip(saved, versions, strict=True):
            module._buffers[name] = buffer
            if buffer is not None and copy is not None and buffer._version != version:
                buffer.detach_().copy_(copy)  # a statistic of maps has become part of their graph
                vars(buffer).clear()
