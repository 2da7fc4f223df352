"""Run only what lies behind a layer, by letting everything before it return what it returned the first time.

During the first run the outputs of the outermost modules that ended before the layer are remembered. On later
runs those modules return what they remember, and the layer returns the activations it is given. So any eager
model works, skip connections included, without tracing, and what lies before the layer costs nothing.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from captum_cams.engine.targets import Index, select

log = logging.getLogger("captum_cams")

RunRows = Callable[[int, int, bool], Tensor]
"""(sample, rows, whether the whole network runs) → the output for so many copies of the sample."""


@dataclass
class _Remembered:
    module: nn.Module
    output: Tensor | None  # None: nothing reads it, hand the input on
    parent: object
    is_layer: bool = False


@dataclass
class Head:
    """What the modules before ``layer`` returned, recorded by hooks while the model runs once."""

    layer: nn.Module
    at_input: bool
    calls: list[_Remembered] = field(default_factory=list)
    uses: int = 0
    _entered: list[tuple[nn.Module, int, object]] = field(default_factory=list)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record the calls made inside; a layer used several times counts with its last use, as in Captum."""
        with ExitStack() as stack:
            stack.callback(register_module_forward_pre_hook(self._enter).remove)
            stack.callback(register_module_forward_hook(self._leave).remove)
            yield
        last = max((i for i, call in enumerate(self.calls) if call.is_layer), default=-1)
        self.calls = self.calls[: last + 1]
        self.uses = sum(call.is_layer for call in self.calls)

    def _enter(self, module: nn.Module, args: Any) -> None:
        if module is self.layer and self.at_input:
            self.calls.append(_Remembered(module, None, None, is_layer=True))
        self._entered.append((module, len(self.calls), object()))

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        current, start, _ = self._entered.pop()
        while current is not module:
            current, start, _ = self._entered.pop()
        is_layer = module is self.layer and not self.at_input
        holds_layer = not is_layer and any(call.is_layer for call in self.calls[start:])
        if holds_layer or not isinstance(output, Tensor):
            return  # runs again, over what its own modules remember
        parent, first, token = self._entered[-1] if self._entered else (None, 0, None)
        self.calls[start:] = [_Remembered(module, output.detach(), token, is_layer)]
        row = self.calls[first:-1]
        if getattr(type(parent), "forward", None) is nn.Sequential.forward and not any(call.is_layer for call in row):
            for call in row:
                if call.parent is token:  # read by the next in the row alone, which is remembered itself
                    call.output = None

    def outputs(self) -> dict[nn.Module, list[Tensor | None]]:
        """Each module with its remembered outputs, in the order of its calls."""
        outputs: dict[nn.Module, list[Tensor | None]] = defaultdict(list)
        for call in self.calls:
            if not (call.is_layer and self.at_input):
                outputs[call.module].append(call.output)
        return outputs


class Resume:
    """Activations of the layer → outputs of the model, sample by sample, in chunks."""

    def __init__(
        self,
        run: RunRows,
        head: Head,
        activation: Tensor,
        output: Tensor,
        target: list[Index],
        chunk: int,
    ) -> None:
        self._run, self._head, self._outputs = run, head, head.outputs()
        self._activation, self._output, self._target, self._chunk = activation, output, target, chunk
        self._verified = False

    def __call__(self, activations: Tensor, sample: int) -> Tensor:
        """The model's output for R×K×h×w activations in the place of sample ``sample``'s: R rows."""
        if not self._verified:
            self._verify()
        return torch.cat([self._rows(chunk, sample) for chunk in activations.split(self._chunk)])

    def switched(self, masks: Tensor, score: str = "logit") -> Tensor:
        """The target's score with channels multiplied by ``masks``: N×M×K → N×M; equal masks are run once."""
        scores = []
        for sample, rows in enumerate(masks):
            unique, which = torch.unique(rows, dim=0, return_inverse=True)
            chunks = [
                self._score(self(part[..., None, None] * self._activation[sample], sample), sample, score)
                for part in unique.to(self._activation.dtype).split(self._chunk)
            ]
            scores.append(torch.cat(chunks)[which])
        return torch.stack(scores)

    def _score(self, output: Tensor, sample: int, score: str) -> Tensor:
        output = output.to(torch.promote_types(output.dtype, torch.float32))
        return select(output.softmax(1) if score == "probability" else output, self._target[sample])

    def _verify(self) -> None:
        # State outside modules, in-place functions on remembered tensors or a batch axis that is not the first
        # would make the shortcut wrong; two rows of the known activation show it, and the plain run remains.
        self._verified = True
        expected = self._output[:1].expand(2, *self._output.shape[1:])
        try:
            found = self._rows(self._activation[:1].expand(2, *self._activation.shape[1:]), 0)
            tolerance = 1e-4 * float(expected.abs().max()) + 1e-6
            if expected.dtype in (torch.float16, torch.bfloat16):
                tolerance *= 100
            reason = "" if torch.allclose(found, expected, rtol=0, atol=tolerance) else "another output"
        except (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            reason = str(error)
        if reason:
            log.debug("the part before the layer cannot be remembered (%s): every run is a full one", reason)
            self._outputs = {}

    def _rows(self, activations: Tensor, sample: int) -> Tensor:
        with self._replaying(activations, sample):
            return self._run(sample, len(activations), not self._outputs)

    @contextmanager
    def _replaying(self, activations: Tensor, sample: int) -> Iterator[None]:
        count, batch, calls = len(activations), self._activation.shape[0], 0
        last = self._head.uses

        def replace(module: nn.Module, args: Any, output: Tensor | None = None) -> Any:
            nonlocal calls
            calls += 1
            if calls != last:
                return None
            fresh = activations.to(self._activation.dtype).clone()  # a following in-place ReLU writes to it
            return (fresh, *args[1:]) if output is None else fresh

        def rows(tensor: Tensor) -> Tensor:
            if tensor.ndim == 0 or tensor.shape[0] != batch:
                return tensor
            return tensor[sample : sample + 1].expand(count, *tensor.shape[1:])

        def remembered(module: nn.Module, outputs: list[Tensor | None]) -> Callable[..., Any]:
            forward, left = module.forward, iter(outputs)

            def forward_remembered(*args: Any, **kwargs: Any) -> Any:
                for output in left:
                    return args[0] if output is None else rows(output)
                return forward(*args, **kwargs)

            return forward_remembered

        layer, at_input = self._head.layer, self._head.at_input
        with ExitStack() as stack:
            register = layer.register_forward_pre_hook if at_input else layer.register_forward_hook
            stack.callback(register(replace).remove)
            for module, outputs in self._outputs.items():
                stack.callback(_restore_forward, module, module.__dict__.get("forward"))
                module.__dict__["forward"] = remembered(module, outputs)
            yield


def _restore_forward(module: nn.Module, forward: Callable[..., Any] | None) -> None:
    if forward is None:
        del module.__dict__["forward"]
    else:
        module.__dict__["forward"] = forward
