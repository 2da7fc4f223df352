"""Watch, and change, what modules do in one run: in the calling thread alone.

Another thread may run the same modules meanwhile; for it they are as they were. Hooks sit on the modules of one model,
since hooks on all modules of the process would be seen by the compiled code of other models. Only where the modules
are not known, because the model is a plain function, they sit on all of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import Any

from torch import Tensor, nn
from torch.jit import RecursiveScriptModule
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from captum_cams.engine.torch_internals import hooked
from captum_cams.errors import CAMError

Modules = Iterable[nn.Module] | None
"""The modules of a model; None stands for every module that the calling thread runs."""


def only_here(action: Callable[..., Any], elsewhere: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A function that is ``action`` in the calling thread; in other threads ``elsewhere``, or nothing."""
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
    """Keep a list of the modules that are running, innermost last.

    Args:
        modules: those that are watched.
        enter: called with each module that begins.
        leave: called with each module that ends, its arguments (those by keyword if there are no others) and its
            output, before the user's own hooks change it. Each call of ``enter`` has its call of ``leave``, also
            where a module raises and its parent goes on; the output is None then.
    """
    stack: list[nn.Module] = []

    def begin(module: nn.Module, args: Any) -> None:
        stack.append(module)
        if enter is not None:
            enter(module)

    def end(module: nn.Module, args: tuple[Any, ...], *rest: Any) -> None:  # keyword arguments, if any, and output
        if not any(one is module for one in stack):
            return  # a hook of the user's raised before the module began
        args = args or tuple(value for given in rest[:-1] for value in given.values())
        while True:
            last = stack.pop()
            ended = last is module
            if leave is not None:
                leave(last, args if ended else (), rest[-1] if ended else None)
            if ended:
                return

    begin, end = only_here(begin), only_here(end)
    # A script takes no hooks; it is a part of the module that calls it.
    known = [module for module in modules or () if not isinstance(module, RecursiveScriptModule)]
    with _everywhere(begin, end) if modules is None else hooked(known, begin, end):
        yield stack


@dataclass(frozen=True)
class ModuleCall:
    """One call of a module in a watched run; ``start`` and ``end`` number its entry and its exit."""

    module: nn.Module
    shape: tuple[int, ...]
    """Of the output; empty where that is no tensor."""
    start: int
    end: int


@dataclass(frozen=True)
class Classifier:
    """The last convolution or linear map of a run, which makes the class scores."""

    module: nn.Module
    weight: Tensor
    source: Tensor
    output: Tensor
    start: int


def watch(run: Callable[[], Any], modules: Modules) -> tuple[Any, list[ModuleCall], Classifier | None]:
    """The result of ``run()``, every call of these modules in the order in which they ended, and the classifier."""
    calls: list[ModuleCall] = []
    entered: list[int] = []
    clock = iter(range(10**9))
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
            last = Classifier(module, weight.detach(), args[0].detach(), output.detach(), start)

    with running(modules, enter, leave):
        result = run()
    return result, calls, last


@contextmanager
def _everywhere(begin: Callable[..., None], end: Callable[..., None]) -> Iterator[None]:
    with ExitStack() as handles:
        handles.callback(register_module_forward_pre_hook(begin).remove)
        # Not with keyword arguments: torch 2.14 would go on counting the hook when it is removed.
        handles.callback(register_module_forward_hook(end, always_call=True).remove)
        yield


@contextmanager
def replaced(layer: nn.Module, at_input: bool, value: Callable[[Any], Any]) -> Iterator[None]:
    """The layer's output becomes ``value(output)``; ``at_input`` its positional arguments ``value(arguments)``.

    Where ``value`` returns None, nothing is replaced. An output in a tuple or list of its own stays in one.

    Raises:
        CAMError: the layer is a script.
    """

    def replace(module: nn.Module, args: tuple[Any, ...], output: Any = None) -> Any:
        found = value(args if at_input else output)
        wraps = not at_input and found is not None and isinstance(output, tuple | list)
        return type(output)((found,)) if wraps else found

    if isinstance(layer, RecursiveScriptModule):
        raise CAMError(
            "a layer must be an eager module, got a scripted one, which takes no hooks; explain the eager network, or "
            "nn.Sequential(script) where the layer is the network itself"
        )
    hook = only_here(replace)
    handle = layer.register_forward_pre_hook(hook) if at_input else layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def swapped(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Each module calls the function that is given for it in the place of its ``forward``."""
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
