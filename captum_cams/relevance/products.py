"""Choose the factor of a product that gets the relevance; the other factor counts as a constant."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_cams.relevance.marks import mark_of


class NoRuleError(Exception):
    """Raised if there is no rule for an operation; the text says why."""


@dataclass(frozen=True)
class Weighing:
    """A linear operation: its input, its weight (a constant or a gate), and the bias that is added."""

    input: Tensor
    weight: Tensor
    linear: Callable[[Tensor, Tensor], Tensor]
    """Takes input and weight and returns the output without bias."""
    bias: Any = None
    samples_first: bool = True
    """Whether the first axis of the input is the first axis of the output."""


def flows(left: Any, right: Any) -> tuple[Any, Any]:
    """Decide which of two factors gets the relevance; at least one of them must depend on the input.

    Returns:
        The factor that gets the relevance, and the other factor.

    Raises:
        NoRuleError: if both factors depend on the input and are equally likely to be gates.
    """
    marks = mark_of(left), mark_of(right)
    if marks[0] is None or marks[1] is None:
        return (right, left) if marks[0] is None else (left, right)
    if marks[0].gate == marks[1].gate:
        raise NoRuleError("both factors depend on the input and neither is a gate, or both are")
    return (right, left) if marks[0].gate > marks[1].gate else (left, right)


def contraction(name: str, func: Callable[..., Any], args: Any, kwargs: Any) -> Weighing:
    """Read a matrix product as a linear operation on one of its factors.

    Raises:
        NoRuleError: if there are not exactly two factors, or as in :func:`flows`.
    """
    options = dict(kwargs)
    factors = [*args, *(options.pop(key) for key in ("input", "other", "mat2", "vec") if key in options)]
    bias = factors.pop(0) if name in ("addmm", "baddbmm", "addmv") else None
    if len(factors) != 2:
        raise NoRuleError("it needs its two factors as positional arguments")
    left, right = factors
    if bias is not None:
        alpha = options.pop("alpha", 1)
        func, options = (lambda a, b: torch.matmul(a, b) * alpha), {}
    source, weight = flows(left, right)
    if source is left:
        return Weighing(source, weight, lambda x, w: func(x, w, **options), bias)
    return Weighing(source, weight, lambda x, w: func(w, x, **options), bias, source.ndim > 2)


def einsum(func: Callable[..., Any], args: Any) -> tuple[str, Any]:
    """Classify an einsum.

    Returns:
        ("move", None) if it only rearranges one tensor, ("sum", the tensor) if it sums over axes of one tensor,
        ("product", a Weighing) for two tensors without a sum, or ("linear", a Weighing) for two tensors with a sum.

    Raises:
        NoRuleError: if there are more than two tensors, the equation has no "->", or as in :func:`flows`.
    """
    equation, *operands = args
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = list(operands[0])
    if not isinstance(equation, str) or "->" not in equation or len(operands) > 2:
        raise NoRuleError('an einsum needs the form "…,…->…" with one or two tensors')
    given, result = equation.replace(" ", "").split("->")
    if len(operands) == 1:
        return ("move", None) if set(given) <= set(result) else ("sum", operands[0])
    left, right = operands
    source, weight = flows(left, right)
    first = given.split(",")[0 if source is left else 1][0] == result[:1]

    def linear(x: Tensor, w: Tensor) -> Tensor:
        return func(equation, x, w) if source is left else func(equation, w, x)

    # Letters that are not in the output are summed over. Without such letters, each output has one contribution.
    kind = "product" if set(given) - {","} <= set(result) else "linear"
    return kind, Weighing(source, weight, linear, samples_first=first)
