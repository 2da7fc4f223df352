"""Restore the state of modules that a run may change."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.engine.torch_internals import buffers_of, drop_later_hooks, hook_ids, version_of
from captum_cams.errors import CAMError

_OF_TORCH = frozenset(vars(nn.Module()))
"""The attributes that torch itself sets in every module, such as parameters and hooks."""


class Kept:
    """Switches modules to eval mode, and on exit restores the state that a run may have changed.

    It restores the ``training`` flags, and removes hooks that the run itself has set, as the first run of a model of
    Hugging Face does. In modules that do not belong to torch.nn, it also restores buffers and attributes, with the
    contents of tensors, lists, dicts and sets. It does not look into other objects. Modules of torch.nn change nothing
    else in eval mode.

    Args:
        copies_buffers: whether the run gets copies of the buffers. A graph that outlives the run must not hold the
            buffers themselves: a training step changes the statistics of a BatchNorm before the backward pass reads
            them, and torch does not notice.
    """

    def __init__(self, copies_buffers: bool = False) -> None:
        self._copies: dict[int, Tensor] | None = {} if copies_buffers else None
        self._seen: set[nn.Module] = set()
        self._undo: list[Callable[[], None]] = []

    def __enter__(self) -> "Kept":
        return self

    def keep(self, modules: Iterable[nn.Module]) -> None:
        """Save the state of these modules, except those whose state is already saved."""
        for module in modules:
            if module in self._seen:
                continue
            self._seen.add(module)
            if not isinstance(module, torch.jit.ScriptModule):
                self._undo.append(partial(drop_later_hooks, module, hook_ids(module)))
            if not type(module).__module__.startswith("torch.nn."):
                self._keep_contents(module)
            if self._copies is not None:
                self._copy_buffers(module, self._copies)
            if getattr(module, "training", False):
                self._undo.append(lambda module=module: setattr(module, "training", True))  # type: ignore[misc]
                # The flag is set directly, because a user's own train() or eval() may do more than this.
                module.training = False

    def _keep_contents(self, module: nn.Module) -> None:
        undo = self._undo
        undo += map(_of_tensor, module.buffers(recurse=False))
        if isinstance(module, torch.jit.ScriptModule):
            return  # Python cannot reach its other state
        attributes = vars(module)
        undo += [_of_names(buffers_of(module)), _of_names(attributes, _OF_TORCH)]
        for name, value in attributes.items():
            if name in _OF_TORCH:
                continue
            if isinstance(value, Tensor):
                undo.append(_of_tensor(value))
            elif isinstance(value, list | dict | set):
                undo.append(_of_container(value))

    def _copy_buffers(self, module: nn.Module, copies: dict[int, Tensor]) -> None:
        if isinstance(module, torch.jit.ScriptModule):
            if any(True for _ in module.buffers(recurse=False)):
                raise CAMError(
                    "differentiable=True needs eager modules, got a scripted one with buffers, which a training step "
                    "may change before the backward pass reads them; explain the eager network"
                )
            return
        buffers = buffers_of(module)
        self._undo.append(_of_names(buffers))
        for name, buffer in buffers.items():
            if buffer is not None and not buffer.requires_grad:
                buffers[name] = copies.setdefault(id(buffer), buffer.clone())  # modules may share a buffer

    def __exit__(self, *error: Any) -> None:
        for undo in reversed(self._undo):
            undo()


def _of_names(held: dict[str, Any], left_out: frozenset[str] = frozenset()) -> Callable[[], None]:
    before = {name: value for name, value in held.items() if name not in left_out}

    def undo() -> None:
        for name in [name for name in held if name not in before and name not in left_out]:
            del held[name]
        for name, value in before.items():
            if name not in held or held[name] is not value:
                held[name] = value

    return undo


def _of_container(held: Any) -> Callable[[], None]:
    before = held.copy()

    def undo() -> None:
        if isinstance(held, list):
            held[:] = before
        else:
            held.clear()
            held.update(before)

    return undo


def _of_tensor(tensor: Tensor) -> Callable[[], None]:
    copy, version, marks = tensor.detach().clone(), version_of(tensor), dict(vars(tensor))

    def undo() -> None:
        # The values count too: quantisation observers and other compiled code write without raising the version.
        if version_of(tensor) == version and tensor.shape == copy.shape and torch.equal(tensor, copy):
            return
        tensor.detach_()  # a statistic of activations has become part of their autograd graph
        if tensor.shape != copy.shape:
            tensor.resize_(copy.shape)
        tensor.copy_(copy)
        vars(tensor).clear()
        vars(tensor).update(marks)

    return undo
