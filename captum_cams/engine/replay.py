"""Runs of a model in which the modules before a layer return what they returned the first time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from captum_cams.engine.head import FirstLinear, Head
from captum_cams.engine.layout import Layout
from captum_cams.engine.rerun import Rerun
from captum_cams.engine.trace import replaced, swapped
from captum_cams.errors import CAMError


class Behind:
    """Values in the place of a layer's → outputs of the model, for copies of one sample."""

    def __init__(self, rerun: Rerun, head: Head, value: Tensor, layout: Layout | None = None) -> None:
        self.head, self.value, self.rerun, self.layout = head, value, rerun, layout
        self.outputs = head.outputs

    def in_full(self) -> "Behind":
        """The same with nothing remembered."""
        return Behind(self.rerun, replace(self.head, outputs={}), self.value, self.layout)

    def __call__(self, values: Tensor, sample: int) -> Tensor:
        """The model's output, one row for each of ``values``, which are maps where there is a layout.

        The model may write to ``values``.
        """
        if self.layout is not None:
            values = self.layout.replaced(values, self.value[sample : sample + 1])
        with self._replaying(values, sample):
            return self.rerun.copies(sample, len(values), not self.outputs)

    @contextmanager
    def _replaying(self, values: Tensor, sample: int) -> Iterator[None]:
        count, batch, uses = len(values), self.value.shape[0], 0

        def replace(given: Any) -> Any:
            nonlocal uses
            uses += 1
            if uses != self.head.uses:
                return None
            fitting = values.to(self.value.dtype)
            return (fitting, *given[1:]) if self.head.at_input else fitting

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

        forwards = {module: remembered(module, outputs) for module, outputs in self.outputs.items()}
        with replaced(self.head.layer, self.head.at_input, replace), swapped(forwards):
            yield
            if uses < self.head.uses:
                raise CAMError(
                    f"the model must call layer {type(self.head.layer).__name__} for changed activations as for the "
                    "sample itself, got a run that left it out; choose a layer that every run calls"
                )


class Pinned(Behind):
    """The same with a Linear behind the layer that returns what it returned the first time.

    ``sources`` gathers what it was given, run by run.
    """

    def __init__(self, behind: Behind, linear: FirstLinear) -> None:
        remembered = dict(behind.head.outputs)
        remembered[linear.module] = [*remembered.get(linear.module, []), linear.output]
        super().__init__(behind.rerun, replace(behind.head, outputs=remembered), behind.value, behind.layout)
        self.sources: list[Tensor] = []
        self._module, self._uses = linear.module, linear.head.uses

    def __call__(self, values: Tensor, sample: int) -> Tensor:
        given: list[Tensor] = []
        # The output as a copy, for a following in-place ReLU writes to it.
        with (
            replaced(self._module, True, lambda args: given.append(args[0])),
            replaced(self._module, False, Tensor.clone),
        ):
            outputs = super().__call__(values, sample)
        self.sources.append(given[self._uses - 1])
        return outputs
