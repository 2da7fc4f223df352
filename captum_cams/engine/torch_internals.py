"""All private names of PyTorch that this package uses; ``tests/project`` checks that they exist."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.modules.loss import _Loss as Loss
from torch.utils import checkpoint
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.hooks import RemovableHandle

__all__ = [
    "Loss",
    "buffers_of",
    "compiled_function",
    "compiled_module",
    "drop_later_hooks",
    "graph_node",
    "hook_ids",
    "hooked",
    "hooks_of",
    "in_checkpoint",
    "is_checkpoint",
    "is_compiled",
    "tree_flatten",
    "tree_unflatten",
    "version_of",
    "with_parameters",
]


def version_of(tensor: Tensor) -> int:
    """Return how often the tensor was changed in place."""
    return tensor._version


def graph_node(function: type[torch.autograd.Function]) -> type[Any]:
    """Return the class of the ``grad_fn`` that an autograd function gives its outputs."""
    return function._backward_cls


def compiled_module(module: nn.Module) -> nn.Module | None:
    """Return the eager module inside the result of ``torch.compile(module)``; None for any other module."""
    return getattr(module, "_orig_mod", None)


def compiled_function(value: Any) -> Callable[..., Any] | None:
    """Return the eager function inside the result of ``torch.compile(function)``; None for any other value."""
    return getattr(value, "_torchdynamo_orig_callable", None)


def is_compiled(module: nn.Module) -> bool:
    """Tell whether ``torch.compile`` or ``module.compile`` compiled the module, or only its ``forward`` method."""
    inside = getattr(module, "_compiled_call_impl", None) is not None or compiled_module(module) is not None
    return inside or compiled_function(vars(module).get("forward")) is not None


def in_checkpoint() -> bool:
    """Tell whether the thread is inside ``torch.utils.checkpoint.checkpoint(..., use_reentrant=False)``."""
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(False)
    return hooks is not None and hooks[0].__module__ == checkpoint.__name__


def is_checkpoint(node: Node) -> bool:
    """Tell whether a node of the graph stands for a part that ran with ``use_reentrant=True``."""
    return isinstance(node, graph_node(checkpoint.CheckpointFunction))


def buffers_of(module: nn.Module) -> dict[str, Tensor | None]:
    """Return the dict in which the module stores its buffers."""
    return module._buffers


def with_parameters(module: nn.Module, parameters: Mapping[str, Tensor | None]) -> nn.Module:
    """Make a shallow copy of the module with these tensors as parameters; the module itself does not change."""
    bare = copy(module)
    bare._parameters = {**parameters}  # type: ignore[dict-item]
    return bare


def hooks_of(module: nn.Module) -> dict[str, list[Callable[..., Any]]]:
    """Return the hooks that can change a run of the module, by kind."""
    return {kind: [*vars(module)[kind].values()] for kind in ("_forward_pre_hooks", "_forward_hooks")}


_HOOKS = (
    *("_forward_pre_hooks", "_forward_hooks"),
    *("_forward_pre_hooks_with_kwargs", "_forward_hooks_with_kwargs", "_forward_hooks_always_called"),
)


def is_once_differentiable(node: torch.autograd.graph.Node) -> bool:
    """Whether a node is that of a custom autograd function whose gradient torch does not differentiate."""
    function = getattr(node, "_forward_cls", None)
    return hasattr(getattr(function, "backward", None), "__wrapped__")  # what once_differentiable leaves


def hook_ids(module: nn.Module) -> frozenset[int]:
    """Return the identifiers of the hooks that run with the module."""
    return frozenset((*module._forward_pre_hooks, *module._forward_hooks))


def drop_later_hooks(module: nn.Module, ids: frozenset[int]) -> None:
    """Remove the hooks that the module did not have when :func:`hook_ids` was called."""
    for later in hook_ids(module) - ids:
        for kind in _HOOKS:
            vars(module)[kind].pop(later, None)


@contextmanager
def hooked(modules: Iterable[nn.Module], begin: Callable[..., None], end: Callable[..., Any]) -> Iterator[None]:
    """Call ``begin`` before and ``end`` after each run of these modules, before all other hooks, also if it raises.

    This does what torch does with ``prepend=True``, but for hundreds of modules in a tenth of the time.

    Args:
        modules: the modules that get the hooks.
        begin: called with the module and its positional arguments.
        end: called with the module, its positional arguments, its keyword arguments and its output.
    """
    key = RemovableHandle(OrderedDict()).id  # unique among all hooks
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
