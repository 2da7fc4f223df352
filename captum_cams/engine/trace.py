"""Watch or change what modules do in one run, only in the calling thread.

Other threads may run the same modules at the same time and see no change. Hooks are set on the modules of one model,
because global hooks would affect the compiled code of other models. Only if the model is a plain function, whose
modules are not known, global hooks are used.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from threading import get_ident
from typing import Any

from torch import Tensor, nn
from torch.jit import RecursiveScriptModule
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from captum_cams.engine.torch_internals import hooked, tree_flatten
from captum_cams.errors import CAMError

Modules = Iterable[nn.Module] | None
"""The modules of a model; None means every module that the calling thread runs."""


def only_here(action: Callable[..., Any], elsewhere: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Make a function that calls ``action`` in the present thread, and ``elsewhere`` (or nothing) in other threads."""
    owner = get_ident()

    def called(*args: Any, **kwargs: Any) -> Any:
        if get_ident() == owner:
            return action(*args, **kwargs)
        return None if elsewhere is None else elsewhere(*args, **kwargs)

    return called


@contextmanager
def running(
    modules: Modules,
    enter: Callable[[nn.Module], Any] | None = None,
    leave: Callable[[nn.Module, tuple[Any, ...], Any], Any] | None = None,
) -> Iterator[list[nn.Module]]:
    """Maintain a list of the modules that are running, with the innermost module last.

    Args:
        modules: the modules that are watched.
        enter: called with each module that begins.
        leave: called with each module that ends, its positional arguments (the keyword arguments if there are no
            positional ones) and its output before the user's own hooks change it. Each call of ``enter`` is followed
            by a call of ``leave``. If the module raises an error, the output is None. The run goes on with what
            ``leave`` returns instead of the output, unless it is None.
    """
    stack: list[nn.Module] = []

    def begin(module: nn.Module, args: Any) -> None:
        stack.append(module)
        if enter is not None:
            enter(module)

    def end(module: nn.Module, args: tuple[Any, ...], *rest: Any) -> Any:  # keyword arguments, if any, and output
        if not any(running_module is module for running_module in stack):
            return None  # a hook of the user raised an error before the module began
        args = args or tuple(value for given in rest[:-1] for value in given.values())
        while True:
            last = stack.pop()
            ended = last is module
            new = None if leave is None else leave(last, args if ended else (), rest[-1] if ended else None)
            if ended:
                return new

    begin, end = only_here(begin), only_here(end)
    # A scripted module accepts no hooks; it counts as a part of the module that calls it.
    known = [module for module in modules or () if not isinstance(module, RecursiveScriptModule)]
    with _everywhere(begin, end) if modules is None else hooked(known, begin, end):
        yield stack


@dataclass(frozen=True)
class ModuleCall:
    """One call of a module in a run; ``start`` and ``end`` number all entries and exits of the run in their order."""

    module: nn.Module
    shape: tuple[int, ...]
    """The shape of the output; empty if the output is not a tensor."""
    start: int
    end: int


@dataclass(frozen=True)
class Classifier:
    """The last convolution or linear layer of a run, which computes the class scores."""

    module: nn.Module
    weight: Tensor
    source: Tensor
    """Its input."""
    output: Tensor
    start: int
    """As in :class:`ModuleCall`."""


def watch(run: Callable[[], Any], modules: Modules) -> tuple[Any, list[ModuleCall], Classifier | None]:
    """Run a function and watch these modules.

    Returns:
        The result of ``run()``, all calls of the modules in the order in which they ended, and the classifier; None
        if there is no classifier.
    """
    calls: list[ModuleCall] = []
    entered: list[int] = []
    clock = count()
    last: Classifier | None = None

    def enter(module: nn.Module) -> None:
        entered.append(next(clock))

    def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        nonlocal last
        start = entered.pop()
        calls.append(ModuleCall(module, tuple(output.shape) if isinstance(output, Tensor) else (), start, next(clock)))
        weight = getattr(module, "weight", None)
        tensors = isinstance(output, Tensor) and len(args) > 0 and isinstance(args[0], Tensor)
        if isinstance(weight, Tensor) and weight.ndim >= 2 and tensors:
            last = Classifier(module, weight, args[0].detach(), output.detach(), start)

    with running(modules, enter, leave):
        result = run()
    return result, calls, last


def the_tensor(output: Any) -> Tensor | None:
    """The tensor that a layer returns, alone or as the first entry of a tuple or list without further tensors.

    Blocks of transformers return such tuples, with sizes or None behind the tokens.
    """
    if isinstance(output, tuple | list):
        leaves = tree_flatten(output)[0]
        alone = sum(isinstance(leaf, Tensor) for leaf in leaves) == 1
        output = output[0] if alone else None
    return output if isinstance(output, Tensor) else None


def with_tensor(output: Any, tensor: Tensor) -> Any:
    """The same output with another tensor in place of :func:`the_tensor`."""
    if not isinstance(output, tuple | list):
        return tensor
    # _make: a named tuple takes its fields one by one
    return getattr(output, "_make", type(output))((tensor, *output[1:]))


@contextmanager
def _everywhere(begin: Callable[..., None], end: Callable[..., Any]) -> Iterator[None]:
    with ExitStack() as handles:
        handles.callback(register_module_forward_pre_hook(begin).remove)
        # No keyword arguments: torch 2.14 does not forget such a global hook when it is removed.
        handles.callback(register_module_forward_hook(end, always_call=True).remove)
        yield


@contextmanager
def replaced(layer: nn.Module, at_input: bool, value: Callable[[Any], Any]) -> Iterator[None]:
    """Replace the output of a layer, or its positional arguments, while the context is active.

    Args:
        layer: the layer.
        at_input: whether to replace the arguments instead of the output.
        value: takes the output (or the tuple of arguments) and returns the new one, or None to keep it. If the
            output is a tuple or list, the new output takes the place of its first entry.

    Raises:
        CAMError: if the layer is a scripted module.
    """

    def replace(module: nn.Module, args: tuple[Any, ...], output: Any = None) -> Any:
        new = value(args if at_input else output)
        if at_input or new is None or not isinstance(output, tuple | list):
            return new
        return with_tensor(output, new)

    if isinstance(layer, RecursiveScriptModule):
        raise CAMError(
            "a layer must be an eager module, got a scripted module, which accepts no hooks; explain the eager "
            "network, or nn.Sequential(script) if the layer is the network itself"
        )
    hook = only_here(replace)
    handle = layer.register_forward_pre_hook(hook) if at_input else layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def swapped(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Let each module call the given function instead of its ``forward`` while the context is active."""
    before = {module: vars(module).get("forward") for module in forwards}
    try:
        for module, forward in forwards.items():
            vars(module)["forward"] = only_here(forward, elsewhere=module.forward)
        yield
    finally:
        for module, original in before.items():
            if original is not None:
                vars(module)["forward"] = original
            else:
                vars(module).pop("forward", None)
