"""The backward passes that propagate relevance: in proportion to strengths, or unchanged."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from captum_cams.engine.torch_internals import graph_node, version_of
from captum_cams.errors import CAMError


class Reading:
    """The tensors that an operation has read, with the values at that time."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors, self._versions = list(tensors), [version_of(tensor) for tensor in tensors]

    def copy(self) -> None:
        """Replace the tensors by copies, before something writes to them."""
        self._tensors = [tensor.clone() for tensor in self._tensors]
        self._versions = [version_of(tensor) for tensor in self._tensors]

    def tensors(self) -> list[Tensor]:
        """Return the tensors, or raise a RuntimeError if they were changed since the operation read them."""
        if [version_of(tensor) for tensor in self._tensors] != self._versions:
            raise RuntimeError("a tensor that an operation has read was changed in place")
        return self._tensors


class Taken(torch.autograd.Function):
    """Replaces an input by the strengths of its elements; the backward pass multiplies gradient and strength.

    If a linear function of the strengths follows, and then :class:`Given`, the relevance of each element is its share
    of the total.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, strengths: Reading) -> tuple[Tensor, ...]:
        ctx.strengths = strengths
        # .data has its own version counter. So a later write to the tensor does not stop the backward pass, which does
        # not read it.
        return tuple(tensor.data for tensor in strengths.tensors())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        parts = [s * gradient for s, gradient in zip(ctx.strengths.tensors(), gradients, strict=True)]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0), None


class Given(torch.autograd.Function):
    """Replaces a total strength by the output of the operation; the backward pass divides relevance by the divisor.

    The divisor is the total strength, unless a rule gives another one. The quotient is 0 where the divisor is 0.

    ``output`` is given in a list, because a function may not return its argument if it is later changed in place.
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
    """Replaces an input by the output of the operation; relevance passes unchanged, summed over repeated elements."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, output: list[Tensor]) -> Tensor:
        ctx.shape = inputs.shape
        return output[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None]:
        return relevance.sum_to_size(ctx.shape), None


FUNCTIONS = tuple(map(graph_node, (Taken, Given, Passed)))
"""The classes of the ``grad_fn`` of these functions."""


def shared(
    inputs: list[tuple[Tensor, Reading]], total: Callable[..., Tensor], output: Tensor, divisor: Tensor | None = None
) -> Tensor:
    """Let the inputs of an operation share the relevance of its output in proportion to their strengths.

    Args:
        inputs: each input with the reading of its strengths.
        total: a linear function of all strengths, which returns a tensor of the output's shape.
        output: the output of the operation.
        divisor: what relevance is divided by, of the output's shape; None means the total.

    Returns:
        The output, with this backward pass.

    Raises:
        CAMError: if the total is NaN or Inf in its precision.
    """
    strengths = [strength for x, reading in inputs for strength in Taken.apply(x, reading)]
    with torch.autocast(output.device.type, enabled=False):
        whole = total(*strengths)
    # The sum is quicker to check, and it is finite if all values are finite and not too large.
    if not whole.detach().sum().isfinite() and not whole.detach().isfinite().all():
        raise CAMError(
            f"relevance needs contributions that {whole.dtype} can hold, got NaN or Inf in their sum; "
            "check the inputs and the weights, or explain the model in float64"
        )
    return Given.apply(whole, [output], divisor)
