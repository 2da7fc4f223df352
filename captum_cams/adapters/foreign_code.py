"""Run code of others inside a call, and leave everything as it was that this code may change."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@contextmanager
def foreign_code(modules: Sequence[nn.Module], seed: int) -> Iterator[None]:
    """Run code that may do anything to a model, with gradients and from a fixed random state.

    On exit, also after an error, the weights, the buffers, their ``.grad`` and ``requires_grad``, the attributes of the
    modules, and the random states of torch, NumPy and Python are as before. :func:`untouched`, which runs around it,
    removes the hooks. It keeps a copy of the weights, because such code may write to them, as Captum's LRP does.

    Args:
        modules: all modules of the model.
        seed: the seed of the random states.
    """
    undo = [*map(_attributes, modules), *map(_tensor, _tensors(modules))]
    states = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices), torch.enable_grad():
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        for action in reversed(undo):
            action()


def random_state() -> tuple[Any, ...]:
    """The random states of torch, NumPy and Python, which can be compared."""
    name, keys, *rest = np.random.get_state()
    cuda = torch.cuda.get_rng_state().numpy().tobytes() if torch.cuda.is_initialized() else b""
    return torch.get_rng_state().numpy().tobytes(), cuda, name, np.asarray(keys).tobytes(), rest, random.getstate()


def _tensors(modules: Sequence[nn.Module]) -> list[Tensor]:
    """The parameters and buffers of the modules, each once."""
    own = (tensor for one in modules for tensor in (*one.parameters(False), *one.buffers(False)))
    return list({id(tensor): tensor for tensor in own}.values())


def _attributes(module: nn.Module) -> Callable[[], None]:
    if isinstance(module, torch.jit.ScriptModule):
        return lambda: None  # Python cannot reach its attributes
    held = vars(module)
    before = dict(held)
    children, parameters = dict(module.named_children()), dict(module.named_parameters(recurse=False))

    def undo() -> None:
        for name in [name for name in held if name not in before]:
            del held[name]
        held.update(before)
        for name, value in {**children, **parameters}.items():
            if getattr(module, name) is not value:
                setattr(module, name, value)

    return undo


def _tensor(tensor: Tensor) -> Callable[[], None]:
    data, copy = tensor.detach(), tensor.detach().clone()
    grad, requires_grad = tensor.grad if tensor.is_leaf else None, tensor.requires_grad
    if tensor.is_leaf:
        tensor.grad = None  # a backward pass would add to it in place

    def undo() -> None:
        if tensor.data_ptr() != data.data_ptr():
            tensor.data = data
        if not _equal(data, copy):
            data.copy_(copy)
        if tensor.is_leaf:
            tensor.grad = grad
            tensor.requires_grad_(requires_grad)

    return undo


def _equal(one: Tensor, other: Tensor) -> Any:
    """Whether both have the same values, where NaN equals NaN."""
    return torch.equal(one, other) or torch.allclose(one, other, 0, 0, equal_nan=True)
