"""The private names of PyTorch that are used, and nothing else; ``tests/project`` says that they exist."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss as Loss
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.hooks import RemovableHandle

__all__ = [
    "Loss",
    "buffers_of",
    "compiled_function",
    "compiled_module",
    "graph_node",
    "hooked",
    "hooks_of",
    "is_compiled",
    "tree_flatten",
    "tree_unflatten",
    "version_of",
    "with_parameters",
]


def version_of(tensor: Tensor) -> int:
    """How often the tensor was written to in place."""
    return tensor._version


def graph_node(function: type[torch.autograd.Function]) -> type[Any]:
    """The class of ``grad_fn`` of the outputs of an autograd function."""
    return function._backward_cls


def compiled_module(module: nn.Module) -> nn.Module | None:
    """The eager module that ``torch.compile(module)`` was made of; None for any other module."""
    return getattr(module, "_orig_mod", None)


def compiled_function(value: Any) -> Callable[..., Any] | None:
    """The eager function that ``torch.compile(function)`` was made of; None for anything else."""
    return getattr(value, "_torchdynamo_orig_callable", None)


def is_compiled(module: nn.Module) -> bool:
    """Whether the module was compiled: by ``torch.compile``, in its place, or its method ``forward`` alone."""
    inside = getattr(module, "_compiled_call_impl", None) is not None or compiled_module(module) is not None
    return inside or compiled_function(vars(module).get("forward")) is not None


def buffers_of(module: nn.Module) -> dict[str, Tensor | None]:
    """The dict in which the module itself keeps its buffers."""
    return module._buffers


def with_parameters(module: nn.Module, parameters: Mapping[str, Tensor | None]) -> nn.Module:
    """A shallow copy that has these tensors for parameters; the module keeps its own."""
    bare = copy(module)
    bare._parameters = {**parameters}  # type: ignore[dict-item]
    return bare


def hooks_of(module: nn.Module) -> dict[str, list[Callable[..., Any]]]:
    """The hooks that change a run of the module, by their kind."""
    return {kind: [*vars(module)[kind].values()] for kind in ("_forward_pre_hooks", "_forward_hooks")}


@contextmanager
def hooked(modules: Iterable[nn.Module], begin: Callable[..., None], end: Callable[..., None]) -> Iterator[None]:
    """Call ``begin(module, arguments)`` before all other hooks, and ``end`` after the run, also where it raises.

    As torch registers hooks with ``prepend=True``, but for hundreds of modules at a tenth of the time.
    """
    key = RemovableHandle(OrderedDict()).id  # which no other hook has
    modules = list(modules)
    try:
        for module in modules:
            for held, hook in ((module._forward_pre_hooks, begin), (module._forward_hooks, end)):
                hooks = cast(OrderedDict[int, Any], held)
                hooks[key] = hook
                hooks.move_to_end(key, last=False)
            module._forward_hooks_with_kwargs[key] = module._forward_hooks_always_called[key] = True
        yield
    finally:
        for module in modules:
            module._forward_pre_hooks.pop(key, None)
            module._forward_hooks.pop(key, None)
            module._forward_hooks_with_kwargs.pop(key, None)
            module._forward_hooks_always_called.pop(key, None)
