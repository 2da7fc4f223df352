"""Run the tail of a model: the modules before the layer return their recorded outputs."""

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


class Tail:
    """Runs the model for copies of one sample, with the layer's output (or input) replaced by given values.

    Args:
        rerun: runs the whole model.
        head: the recorded outputs of the modules before the layer.
        value: the output (or input) of the layer in the first run.
        layout: how maps become such values; None if they already are.
    """

    def __init__(self, rerun: Rerun, head: Head, value: Tensor, layout: Layout | None = None) -> None:
        self.head, self.value, self.rerun, self.layout = head, value, rerun, layout
        self.outputs = head.outputs

    def in_full(self) -> "Tail":
        """Return the same without recorded outputs: all modules run."""
        return Tail(self.rerun, replace(self.head, outputs={}), self.value, self.layout)

    def __call__(self, values: Tensor, sample: int) -> Tensor:
        """Run the model with other values at the layer.

        Args:
            values: R values for the layer, or R maps if there is a layout. The model may write to them.
            sample: the index of the sample.

        Returns:
            The model's output, with R rows.

        Raises:
            CAMError: if the run does not call the layer as often as the first run did.
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

        def recorded(module: nn.Module, outputs: list[Tensor | None]) -> Callable[..., Any]:
            forward, left = module.forward, iter(outputs)

            def forward_recorded(*args: Any, **kwargs: Any) -> Any:
                for output in left:
                    return args[0] if output is None else rows(output)
                return forward(*args, **kwargs)

            return forward_recorded

        forwards = {module: recorded(module, outputs) for module, outputs in self.outputs.items()}
        with replaced(self.head.layer, self.head.at_input, replace), swapped(forwards):
            yield
            if uses < self.head.uses:
                raise CAMError(
                    f"the model must call layer {type(self.head.layer).__name__} for changed activations as often as "
                    "for the sample itself, got fewer calls; choose a layer that every run calls"
                )


class TailModule(nn.Module):
    """The tail for one sample as a module that holds the modules of the tail."""

    def __init__(self, tail: Tail, sample: int) -> None:
        super().__init__()
        self.part = nn.ModuleList(tail.head.tail)
        self._tail, self._sample = tail, sample

    def forward(self, activations: Tensor) -> Tensor:
        return self._tail(activations.clone(), self._sample)


class PinnedTail(Tail):
    """A tail whose first linear layer returns its recorded output as well.

    ``sources`` collects the inputs of the linear layer, one tensor for each run.
    """

    def __init__(self, tail: Tail, linear: FirstLinear) -> None:
        recorded = dict(tail.head.outputs)
        recorded[linear.module] = [*recorded.get(linear.module, []), linear.output]
        super().__init__(tail.rerun, replace(tail.head, outputs=recorded), tail.value, tail.layout)
        self.sources: list[Tensor] = []
        self._module, self._uses = linear.module, linear.head.uses

    def __call__(self, values: Tensor, sample: int) -> Tensor:
        given: list[Tensor] = []
        # The output is copied, because an in-place ReLU may write to it.
        with (
            replaced(self._module, True, lambda args: given.append(args[0])),
            replaced(self._module, False, Tensor.clone),
        ):
            outputs = super().__call__(values, sample)
        self.sources.append(given[self._uses - 1])
        return outputs
