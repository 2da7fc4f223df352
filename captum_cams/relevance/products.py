"""Which factor of a product relevance flows through; the other takes part as a constant."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_cams.relevance.marks import mark_of


class NoRuleError(Exception):
    """There is no rule for this operation; the text says why."""


@dataclass(frozen=True)
class Weighing:
    """A linear map: input and weight (one that is not marked, or a gate) to output, and what is added to it."""

    input: Tensor
    weight: Tensor
    linear: Callable[[Tensor, Tensor], Tensor]
    bias: Any = None
    samples_first: bool = True
    """Whether the input's first axis is that of the output."""


def flows(left: Any, right: Any) -> tuple[Any, Any]:
    """The map and the constant of two factors, of which one at least depends on the input.

    Raises:
        NoRuleError: neither of two maps is a gate, or both are equally surely one.
    """
    marks = mark_of(left), mark_of(right)
    if marks[0] is None or marks[1] is None:
        return (right, left) if marks[0] is None else (left, right)
    if marks[0].gate == marks[1].gate:
        raise NoRuleError("both factors depend on the input and neither is a gate, or both are")
    return (right, left) if marks[0].gate > marks[1].gate else (left, right)


def contraction(name: str, func: Callable[..., Any], args: Any, kwargs: Any) -> Weighing:
    """A matrix product as a linear map of one of its factors.

    Raises:
        NoRuleError: see :func:`flows`.
    """
    options = dict(kwargs)
    factors = [*args, *(options.pop(key) for key in ("input", "other", "mat2", "vec") if key in options)]
    bias = factors.pop(0) if name in ("addmm", "baddbmm", "addmv") else None
    if len(factors) == 3 and name == "tensordot":
        options["dims"] = factors.pop()
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
    """What an einsum is: ("move", None), ("sum", its one tensor), ("product", a Weighing) or ("linear", a Weighing).

    Raises:
        NoRuleError: more than two tensors, an equation that is not written out, or see :func:`flows`.
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

    # Letters that the output lacks are summed over; without one, each output has one contribution.
    kind = "product" if set(given) - {","} <= set(result) else "linear"
    return kind, Weighing(source, weight, linear, samples_first=first)
