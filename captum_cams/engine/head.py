"""Remember what the modules before a layer returned in one run, so that later runs need not compute it."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from captum_cams.engine.trace import Modules, running


@dataclass
class _Call:
    module: nn.Module
    output: Tensor | None  # None: nothing reads it, hand the input on
    parent: object
    mark: Literal["layer", "linear"] | None = None
    source: Tensor | None = None  # what a marked Linear read


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
    """The first Linear behind the layer: what it read and returned, and everything before it."""

    module: nn.Linear
    source: Tensor
    output: Tensor
    head: Head


class Recorder:
    """Watches one run of a model."""

    def __init__(self, layer: nn.Module, at_input: bool) -> None:
        self._layer, self._at_input = layer, at_input
        self._calls: list[_Call] = []
        self._entered: list[tuple[nn.Module, int, object]] = []

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
            module, source, output = call.module, call.source, call.output
            if not isinstance(module, nn.Linear) or source is None or output is None or source.ndim != 2:
                return None
            calls = self._calls[: i + 1]
            uses = sum(one.module is module for one in calls)
            return FirstLinear(module, source, output, Head(module, False, uses, _outputs(calls)))
        return None

    def _last_use(self) -> int:
        return max((i for i, call in enumerate(self._calls) if call.mark == "layer"), default=-1)

    def _enter(self, module: nn.Module) -> None:
        if module is self._layer and self._at_input:
            self._calls.append(_Call(module, None, None, "layer"))
        self._entered.append((module, len(self._calls), object()))

    def _leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        _, start, _ = self._entered.pop()
        mark: Literal["layer", "linear"] | None = None
        if module is self._layer and not self._at_input:
            mark = "layer"
            output = output[0] if isinstance(output, tuple | list) and len(output) == 1 else output
        elif isinstance(module, nn.Linear) and any(call.mark == "layer" for call in self._calls):
            mark = "linear"
        holds_mark = mark is None and any(call.mark for call in self._calls[start:])
        if holds_mark or not isinstance(output, Tensor):
            return  # runs again, over what its own modules remember
        parent, first, token = self._entered[-1] if self._entered else (None, 0, None)
        source = args[0].detach() if mark == "linear" and args and isinstance(args[0], Tensor) else None
        self._calls[start:] = [_Call(module, output.detach(), token, mark, source)]
        row = self._calls[first:-1]
        if getattr(type(parent), "forward", None) is nn.Sequential.forward and not any(call.mark for call in row):
            for call in row:
                if call.parent is token:  # read by the next in the row alone, which is remembered itself
                    call.output = None


def _outputs(calls: list[_Call]) -> dict[nn.Module, list[Tensor | None]]:
    outputs: dict[nn.Module, list[Tensor | None]] = defaultdict(list)
    for call in calls:
        if call.parent is not None or call.output is not None or call.mark is None:
            outputs[call.module].append(call.output)
    return outputs
