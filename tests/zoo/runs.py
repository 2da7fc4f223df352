"""Run a network with hooks, in plain torch: what a module returned, with gradients, replaced or cut off."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor of a module's output or arguments; None if there is none."""
    if isinstance(value, Tensor):
        return value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return next((found for entry in inner if (found := first_tensor(entry)) is not None), None)


def put_first(value: Any, tensor: Tensor) -> Any:
    """A module's output with another first tensor."""
    if isinstance(value, Tensor):
        return tensor
    if isinstance(value, dict):
        key = next(key for key, entry in value.items() if first_tensor(entry) is not None)
        return type(value)({**value, key: put_first(value[key], tensor)})
    index = next(index for index, entry in enumerate(value) if first_tensor(entry) is not None)
    return type(value)([*value[:index], put_first(value[index], tensor), *value[index + 1 :]])


@contextmanager
def seen(module: nn.Module, change: Callable[[Tensor], Tensor] = torch.clone) -> Iterator[list[Tensor]]:
    """Collect what the module returns in each of its calls, and hand on what ``change`` makes of it.

    The copy that is handed on keeps the collected tensor from being overwritten by an in-place ReLU.
    """
    kept: list[Tensor] = []

    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        tensor = first_tensor(output)
        if tensor is None:
            return None
        kept.append(tensor)
        return put_first(output, change(tensor))

    handle = module.register_forward_hook(hook)
    try:
        yield kept
    finally:
        handle.remove()


@contextmanager
def entered(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the first tensor that the module gets in each of its calls."""
    kept: list[Tensor] = []

    def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
        tensor = first_tensor((args, kwargs))
        if tensor is not None:
            kept.append(tensor)

    handle = module.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield kept
    finally:
        handle.remove()


@contextmanager
def ended_after(model: nn.Module, layer: nn.Module) -> Iterator[list[tuple[str, Tensor]]]:
    """Collect the name and the output of the layer, and of each module that ends later, in their order."""
    kept: list[tuple[str, Tensor]] = []

    def watch(name: str, module: nn.Module) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            tensor = first_tensor(output)
            if tensor is None or not (kept or module is layer):
                return None
            kept.append((name, tensor))
            return put_first(output, tensor.clone())

        return module.register_forward_hook(hook)

    handles = [watch(name, module) for name, module in model.named_modules() if name]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def scores(model: nn.Module, images: Tensor) -> Tensor:
    """N×classes, also of networks that return a record, a dictionary or a tuple."""
    output = model(images)
    output = getattr(output, "logits", output)
    found = first_tensor(output)
    assert found is not None
    return found


def gradients(total: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    """The derivative of a number with respect to each tensor; zeros where it does not depend on it."""
    if not total.requires_grad:
        return [torch.zeros_like(tensor) for tensor in tensors]
    found = torch.autograd.grad(total, tensors, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, found, strict=True)]
