"""The backward passes that carry relevance: it is shared in proportion to strengths, or passes as it is."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from captum_cams.engine.torch_internals import graph_node, version_of
from captum_cams.errors import CAMError


class Kept:
    """Tensors with the values that they had when an operation read them."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors, self._versions = list(tensors), [version_of(tensor) for tensor in tensors]

    def copy(self) -> None:
        """Keep copies, before the tensors are written to."""
        self._tensors = [tensor.clone() for tensor in self._tensors]
        self._versions = [version_of(tensor) for tensor in self._tensors]

    def tensors(self) -> list[Tensor]:
        if [version_of(tensor) for tensor in self._tensors] != self._versions:
            raise RuntimeError("a map that an operation has read was changed in place")
        return self._tensors


class Taken(torch.autograd.Function):
    """The strengths of an input's elements; backward multiplies them by what each strength got.

    With :class:`Given` behind a linear function of the strengths, each element's relevance is its part of the total.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, strengths: Kept) -> tuple[Tensor, ...]:
        ctx.strengths = strengths
        # Of its own version: the backward of a linear function reads no values of its input, which may be written to.
        return tuple(tensor.data for tensor in strengths.tensors())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        parts = [s * gradient for s, gradient in zip(ctx.strengths.tensors(), gradients, strict=True)]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0), None


class Given(torch.autograd.Function):
    """The output of an operation; backward divides its relevance by the ``divisor``, and gives 0 where that is 0.

    The divisor is the total strength unless a rule has another one.

    ``output`` comes in a list, since a tensor that is handed through could not be changed in place.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, total: Tensor, output: list[Tensor], divisor: Tensor | None = None) -> Tensor:
        ctx.save_for_backward(total if divisor is None else divisor)
        return output[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None, None]:
        (divisor,) = ctx.saved_tensors
        return (relevance.to(divisor.dtype) / divisor).masked_fill_(divisor == 0, 0), None, None


class Passed(torch.autograd.Function):
    """The output of an operation whose relevance goes on to the input as it is; what was repeated is added up."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, output: list[Tensor]) -> Tensor:
        ctx.shape = inputs.shape
        return output[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None]:
        return relevance.sum_to_size(ctx.shape), None


FUNCTIONS = tuple(map(graph_node, (Taken, Given, Passed)))
"""What autograd calls them in a graph."""


def shared(
    inputs: list[tuple[Tensor, Kept]], total: Callable[..., Tensor], output: Tensor, divisor: Tensor | None = None
) -> Tensor:
    """``output``, whose relevance each input gets in proportion to its strengths.

    Args:
        inputs: each with its strengths.
        total: a linear function of all strengths, of the output's shape.
        output: of the operation.
        divisor: what relevance is divided by; None is the total.

    Raises:
        CAMError: the total is too large for its precision.
    """
    strengths = [strength for x, kept in inputs for strength in Taken.apply(x, kept)]
    with torch.autocast(output.device.type, enabled=False):
        found = total(*strengths)
    # The sum alone is quicker to read, and finite unless something in it is not.
    if not found.detach().sum().isfinite() and not found.detach().isfinite().all():
        raise CAMError(
            f"relevance needs contributions that {found.dtype} can hold, got NaN or Inf in a sum of them; "
            "check the inputs and the weights, or explain the model in float64"
        )
    return Given.apply(found, [output], divisor)
