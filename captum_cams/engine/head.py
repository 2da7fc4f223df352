"""Remember what the modules before a layer returned in one run, so that later runs need not compute it.

A module that keeps a tensor in one of its own attributes (an encoder whose features are read later) is not
remembered: it runs again, over what the modules inside it returned, so that the attribute belongs to the later run.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from captum_cams.engine.torch_internals import version_of
from captum_cams.engine.trace import Modules, running


@dataclass
class _Call:
    module: nn.Module
    output: Tensor | None  # None: nothing reads it, hand the input on
    parent: object
    mark: Literal["layer", "linear"] | None = None
    source: Tensor | None = None  # what a marked Linear read
    copy: Tensor | None = None  # what the first marked Linear returned, out of reach of later writes
    version: int = 0  # of the output when the module returned it; writing to the tensor raises it


@dataclass
class _Entry:
    module: nn.Module
    start: int  # how many calls were recorded before it
    kept: list[Tensor]  # what its attributes held before it ran
    token: object = field(default_factory=object)
    reruns: bool = False  # a module in it keeps a tensor and must run again, and so must this one
    read: bool = False  # a module directly in it runs again, and reads what the one before it returned


@dataclass(frozen=True)
class Head:
    """Outputs of the outermost modules that ended before ``layer``'s last use.

    Args:
        layer: the module whose output (or, ``at_input``, input) later runs replace.
        uses: how often it is called in a run; the last use counts, as in Captum.
        outputs: module → what it returned, in the order of its calls; None stands for its input.
        behind: the outermost modules that run after the layer and not before it.
    """

    layer: nn.Module
    at_input: bool
    uses: int
    outputs: dict[nn.Module, list[Tensor | None]]
    behind: tuple[nn.Module, ...] = ()


@dataclass(frozen=True)
class FirstLinear:
    """The first Linear behind the layer: what it read and returned, and everything before it.

    Args:
        module: the Linear.
        source: what it read, one row per sample.
        output: what it returned.
        returned: the tensor that it returned, which an in-place activation may have written to since.
        version: of that tensor when it was returned.
        head: everything before the Linear's own output.
        between: the outermost modules that ran behind the layer and before it.
    """

    module: nn.Linear
    source: Tensor
    output: Tensor
    returned: Tensor
    version: int
    head: Head
    between: tuple[nn.Module, ...]

    def returns(self, output: Tensor) -> bool:
        """Whether the model's output is the very tensor that the Linear returned, and was not written to since."""
        return (
            output.data_ptr() == self.returned.data_ptr()
            and (output.shape, output.stride()) == (self.returned.shape, self.returned.stride())
            and version_of(output) == self.version
        )


class Recorder:
    """Watches one run of a model."""

    def __init__(self, layer: nn.Module, at_input: bool) -> None:
        self._layer, self._at_input = layer, at_input
        self._calls: list[_Call] = []
        self._entered: list[_Entry] = []

    @contextmanager
    def recording(self, modules: Modules) -> Iterator[None]:
        """Record the calls of these modules, and of the layer, made inside."""
        watched = None if modules is None else dict.fromkeys((*modules, self._layer))
        with running(watched, self._enter, self._leave):
            yield

    def head(self) -> Head:
        """What came before the layer."""
        last = self._last_use() + 1
        outputs = _outputs(self._calls[:last])
        uses = sum(call.mark == "layer" for call in self._calls[:last])
        behind = dict.fromkeys(call.module for call in self._calls[last:] if call.module not in outputs)
        return Head(self._layer, self._at_input, uses, outputs, tuple(behind))

    def first_linear(self) -> FirstLinear | None:
        """The first Linear behind the layer, if it read and returned one row per sample."""
        start = self._last_use() + 1
        for i, call in enumerate(self._calls[start:], start):
            if call.mark != "linear":
                continue
            module, source, output, copy = call.module, call.source, call.output, call.copy
            if not isinstance(module, nn.Linear) or source is None or source.ndim != 2:
                return None
            if output is None or copy is None:
                return None
            calls = self._calls[: i + 1]
            uses = sum(one.module is module for one in calls)
            head = Head(module, False, uses, _outputs(calls))
            between = tuple(one.module for one in self._calls[start:i])
            return FirstLinear(module, source, copy, output, call.version, head, between)
        return None

    def _last_use(self) -> int:
        return max((i for i, call in enumerate(self._calls) if call.mark == "layer"), default=-1)

    def _enter(self, module: nn.Module) -> None:
        if module is self._layer and self._at_input:
            self._calls.append(_Call(module, None, None, "layer"))
        self._entered.append(_Entry(module, len(self._calls), _kept(module)))

    def _leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        entry = self._entered.pop()
        parent = self._entered[-1] if self._entered else None
        mark: Literal["layer", "linear"] | None = None
        if module is self._layer and not self._at_input:
            mark = "layer"
            output = output[0] if isinstance(output, tuple | list) and len(output) == 1 else output
        elif isinstance(module, nn.Linear) and any(call.mark == "layer" for call in self._calls):
            mark = "linear"
        holds_mark = mark is None and any(call.mark for call in self._calls[entry.start :])
        reruns = entry.reruns or _keeps_more(module, entry.kept)
        if holds_mark or reruns or not isinstance(output, Tensor):
            if parent is not None:
                parent.read, parent.reruns = True, parent.reruns or reruns
            return  # runs again, over what its own modules remember
        source = args[0].detach() if mark == "linear" and args and isinstance(args[0], Tensor) else None
        first = mark == "linear" and not any(call.mark == "linear" for call in self._calls[self._last_use() + 1 :])
        copy = output.detach().clone() if first else None
        token = parent.token if parent else None
        self._calls[entry.start :] = [_Call(module, output.detach(), token, mark, source, copy, version_of(output))]
        row = self._calls[parent.start : -1] if parent else []
        in_a_row = parent is not None and getattr(type(parent.module), "forward", None) is nn.Sequential.forward
        if parent and in_a_row and not parent.read and not any(call.mark for call in row):
            for call in row:
                if call.parent is token:  # read by the next in the row alone, which is remembered itself
                    call.output = None


_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def _kept(module: nn.Module) -> list[Tensor]:
    # Modules of torch.nn keep nothing; buffers and parameters are looked after elsewhere.
    if type(module).__module__.startswith("torch.nn."):
        return []
    found: list[Tensor] = []
    for name, value in vars(module).items():
        if name not in _OF_EVERY_MODULE:
            values = (
                value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
            )
            found.extend(one for one in values if isinstance(one, Tensor))
    return found


def _keeps_more(module: nn.Module, before: list[Tensor]) -> bool:
    return any(all(tensor is not old for old in before) for tensor in _kept(module))


def _outputs(calls: list[_Call]) -> dict[nn.Module, list[Tensor | None]]:
    outputs: dict[nn.Module, list[Tensor | None]] = defaultdict(list)
    for call in calls:
        if call.parent is not None or call.output is not None or call.mark is None:
            outputs[call.module].append(call.output)
    return outputs
