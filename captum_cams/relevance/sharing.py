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
        (first, *strengths), (gradient, *others) = ctx.strengths.tensors(), gradients
        relevance = first * gradient
        for strength, other in zip(strengths, others, strict=True):
            relevance = relevance.addcmul(strength, other)
        return relevance, None


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


class Attended(torch.autograd.Function):
    """Replaces scores by their softmax; the backward pass gives each score R_i times its part of the gradient.

    This part is the gradient of Σ_i R_i log s_i.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, strengths: Reading, output: list[Tensor], axis: int) -> Tensor:
        ctx.strengths, ctx.axis = strengths, axis
        ctx.save_for_backward(output[0])
        return output[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None, None, None]:
        (strength,), (weights,) = ctx.strengths.tensors(), ctx.saved_tensors
        gradient = relevance.addcmul(weights, relevance.sum(ctx.axis, keepdim=True), value=-1)
        return gradient * strength, None, None, None


FUNCTIONS = tuple(map(graph_node, (Taken, Given, Passed, Attended)))
"""The classes of the ``grad_fn`` of these functions."""


def shared(
    inputs: list[tuple[Tensor, Reading]],
    total: Callable[..., Tensor],
    output: Tensor | None,
    divisor: Tensor | Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Let the inputs of an operation share the relevance of its output in proportion to their strengths.

    Args:
        inputs: each input with the reading of its strengths.
        total: a function of all strengths that is linear in each of them and returns a tensor of the output's shape.
        output: the output of the operation; None means the total.
        divisor: what relevance is divided by, of the output's shape, or a function of the total that computes it; None
            means the total.

    Returns:
        The output, with this backward pass.

    Raises:
        CAMError: if the total is NaN or Inf in its precision.
    """
    strengths = [strength for x, reading in inputs for strength in Taken.apply(x, reading)]
    with torch.autocast(inputs[0][0].device.type, enabled=False):
        whole = total(*strengths)
    # The sum is quicker to check, and it is finite if all values are finite and not too large.
    if not whole.detach().sum().isfinite() and not whole.detach().isfinite().all():
        raise CAMError(
            f"relevance needs contributions that {whole.dtype} can hold, got NaN or Inf in their sum; "
            "check the inputs and the weights, or explain the model in float64"
        )
    output = whole.detach() if output is None else output
    return Given.apply(whole, [output], divisor(whole.detach()) if callable(divisor) else divisor)
