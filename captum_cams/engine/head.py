"""Record what the modules before a layer returned in one run, so that later runs need not compute it again.

A module that stores a tensor in one of its own attributes (such as an encoder whose features are read later) is not
recorded itself. It runs again, with the recorded outputs of the modules inside it, so that its attribute is up to date.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum_cams.engine.targets import wide
from captum_cams.engine.torch_internals import version_of
from captum_cams.engine.trace import Modules, running, the_tensor


@dataclass
class _Record:
    """What one call of a module returned."""

    module: nn.Module
    output: Tensor | None  # None if only the next module reads it; replay then returns that module's input
    mark: Literal["layer", "linear"] | None = None
    source: Tensor | None = None  # the input of a marked linear layer
    copy: Tensor | None = None  # the output of the first marked linear layer, safe from later in-place changes
    version: int = 0  # of the output when the module returned; each in-place change raises it


@dataclass
class _Entry:
    """A module that is running."""

    module: nn.Module
    start: int  # how many records there were before the module began
    stored: list[Tensor]  # the tensors in its attributes before it began
    reruns: bool = False  # a module inside it stores a tensor, so both must run again
    read: bool = False  # a direct child runs again and reads the output of the child before it


@dataclass(frozen=True)
class Head:
    """The recorded outputs of the outermost modules that ended before the last call of the layer.

    Args:
        layer: the module whose output later runs replace.
        at_input: whether later runs replace the input of the layer instead.
        uses: how often the model calls the layer in one run. The last call counts, as in Captum.
        outputs: what each module returned, in the order of its calls. None means that replay returns its input.
        tail: the outermost modules that run after the layer and not before it.
    """

    layer: nn.Module
    at_input: bool
    uses: int
    outputs: dict[nn.Module, list[Tensor | None]]
    tail: tuple[nn.Module, ...] = ()


@dataclass(frozen=True)
class FirstLinear:
    """The first linear layer of the tail, with everything that ran before its output.

    Args:
        module: the linear layer.
        source: its input, one row per sample.
        output: a copy of its output.
        returned: the tensor that it returned, which an in-place activation may have changed since then.
        version: the version counter of ``returned`` when the linear layer returned it.
        head: the recorded outputs up to the output of the linear layer.
        between: the outermost modules that ran after the explained layer and before the linear layer.
    """

    module: nn.Linear
    source: Tensor
    output: Tensor
    returned: Tensor
    version: int
    head: Head
    between: tuple[nn.Module, ...]

    def returns(self, output: Tensor) -> bool:
        """Tell whether the model's output is the same tensor that the linear layer returned, unchanged since then."""
        return (
            output.data_ptr() == self.returned.data_ptr()
            and (output.shape, output.stride()) == (self.returned.shape, self.returned.stride())
            and version_of(output) == self.version
        )

    def may_add_up(self, activation: Tensor) -> bool:
        """Tell whether the output may be a sum over the channels of the layer's activation, N×K×h×w."""
        # A module with parameters mixes channels or adds constants, and a subclass may change what a linear layer does.
        rows, width = self.source.shape
        parameters = any(True for module in self.between for _ in module.parameters())
        plain = getattr(type(self.module), "forward", None) is nn.Linear.forward
        return plain and not parameters and rows == len(activation) and width % activation.shape[1] == 0

    def products(self, sample: int, channels: int, column: int | None) -> tuple[Tensor, Tensor]:
        """Compute what each channel contributes to each output: U_k = Σ_j W_·j z_j over the inputs z_j of channel k.

        Args:
            sample: the index of the sample.
            channels: the number of channels of the layer's activation.
            column: the only output that is needed; None means all outputs.

        Returns:
            The contributions, channels×outputs, and the bias of each output.
        """
        source = wide(self.source[sample]).view(channels, -1)
        weight, given = wide(self.module.weight.detach()), self.module.bias
        bias = weight.new_zeros(len(weight)) if given is None else wide(given.detach())
        if column is not None:
            weight, bias = weight[column, None], bias[column, None]
        # In parts that fit into the cache: the first linear layer of a VGG has a hundred million weights.
        parts = weight.view(len(weight), *source.shape).split(32)
        return torch.cat([(part * source).sum(-1) for part in parts]).T, bias


class Recorder:
    """Records the outputs of the modules in one run of a model."""

    def __init__(self, layer: nn.Module, at_input: bool) -> None:
        self._layer, self._at_input = layer, at_input
        self._records: list[_Record] = []
        self._entered: list[_Entry] = []

    @contextmanager
    def recording(self, modules: Modules) -> Iterator[None]:
        """Record the calls of these modules and of the layer inside the context."""
        watched = None if modules is None else dict.fromkeys((*modules, self._layer))
        with running(watched, self._enter, self._leave):
            yield

    def head(self) -> Head:
        """Return the recorded outputs of the modules before the layer."""
        last = self._last_use() + 1
        outputs = _outputs(self._records[:last])
        uses = sum(record.mark == "layer" for record in self._records[:last])
        tail = dict.fromkeys(record.module for record in self._records[last:] if record.module not in outputs)
        return Head(self._layer, self._at_input, uses, outputs, tuple(tail))

    def first_linear(self) -> FirstLinear | None:
        """Return the first linear layer after the explained layer, or None unless it has one row per sample."""
        start = self._last_use() + 1
        for i, record in enumerate(self._records[start:], start):
            if record.mark != "linear":
                continue
            module, source, output, copy = record.module, record.source, record.output, record.copy
            if not isinstance(module, nn.Linear) or source is None or source.ndim != 2:
                return None
            if output is None or copy is None:
                return None
            records = self._records[: i + 1]
            uses = sum(record.module is module for record in records)
            head = Head(module, False, uses, _outputs(records))
            between = tuple(record.module for record in self._records[start:i])
            return FirstLinear(module, source, copy, output, record.version, head, between)
        return None

    def _last_use(self) -> int:
        return max((i for i, record in enumerate(self._records) if record.mark == "layer"), default=-1)

    def _enter(self, module: nn.Module) -> None:
        if module is self._layer and self._at_input:
            self._records.append(_Record(module, None, "layer"))
        self._entered.append(_Entry(module, len(self._records), _stored(module)))

    def _leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        entry = self._entered.pop()
        parent = self._entered[-1] if self._entered else None
        mark: Literal["layer", "linear"] | None = None
        if module is self._layer and not self._at_input:
            mark = "layer"
            output = the_tensor(output)
        elif isinstance(module, nn.Linear) and any(record.mark == "layer" for record in self._records):
            mark = "linear"
        holds_mark = mark is None and any(record.mark for record in self._records[entry.start :])
        reruns = entry.reruns or _stores_more(module, entry.stored)
        if holds_mark or reruns or not isinstance(output, Tensor):
            if parent is not None:
                parent.read, parent.reruns = True, parent.reruns or reruns
            return  # it runs again, with the recorded outputs of the modules inside it
        source = args[0].detach() if mark == "linear" and args and isinstance(args[0], Tensor) else None
        first = mark == "linear" and not any(
            record.mark == "linear" for record in self._records[self._last_use() + 1 :]
        )
        copy = output.detach().clone() if first else None
        self._records[entry.start :] = [_Record(module, output.detach(), mark, source, copy, version_of(output))]
        siblings = self._records[parent.start : -1] if parent else []
        in_sequence = parent is not None and getattr(type(parent.module), "forward", None) is nn.Sequential.forward
        if parent and in_sequence and not parent.read and not any(record.mark for record in siblings):
            for record in siblings:
                record.output = None  # only the next module of the chain reads it, and that one is recorded


_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def _stored(module: nn.Module) -> list[Tensor]:
    # Modules of torch.nn store no tensors; untouched() restores buffers and parameters.
    if type(module).__module__.startswith("torch.nn."):
        return []
    stored: list[Tensor] = []
    for name, value in vars(module).items():
        if name not in _OF_EVERY_MODULE:
            values = (
                value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
            )
            stored.extend(value for value in values if isinstance(value, Tensor))
    return stored


def _stores_more(module: nn.Module, before: list[Tensor]) -> bool:
    return any(all(tensor is not old for old in before) for tensor in _stored(module))


def _outputs(records: list[_Record]) -> dict[nn.Module, list[Tensor | None]]:
    outputs: dict[nn.Module, list[Tensor | None]] = defaultdict(list)
    for record in records:
        if record.output is not None or record.mark is None:
            outputs[record.module].append(record.output)
    return outputs
