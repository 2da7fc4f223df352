"""Choose the factor of a product that gets the relevance; the other factor counts as a constant."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_cams.relevance.marks import Gate, known_mark, mark_of


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


@dataclass(frozen=True)
class Product:
    """A product of two factors, of which at least one depends on the input."""

    left: Any
    right: Any
    function: Callable[[Tensor, Tensor], Tensor]
    """Takes both factors and returns the output without bias."""
    bias: Any = None
    samples_first: tuple[bool, bool] = (True, True)
    """For each factor, whether its first axis is the first axis of the output."""

    @property
    def of_maps(self) -> bool:
        """Whether both factors depend on the input and neither is a gate, so that both get relevance."""
        return all(mark_of(factor) and known_mark(factor).gate is Gate.NONE for factor in (self.left, self.right))

    def weighing(self) -> Weighing:
        """Read the product as a linear operation on one of its factors.

        Raises:
            NoRuleError: as in :func:`flows`.
        """
        source, weight = flows(self.left, self.right)
        if source is self.left:
            return Weighing(source, weight, self.function, self.bias, self.samples_first[0])
        return Weighing(source, weight, lambda x, w: self.function(w, x), self.bias, self.samples_first[1])


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


def contraction(name: str, func: Callable[..., Any], args: Any, kwargs: Any) -> Product:
    """Read the factors of a matrix product.

    Raises:
        NoRuleError: if there are not exactly two factors.
    """
    options = dict(kwargs)
    factors = [*args, *(options.pop(key) for key in ("input", "other", "mat2", "vec") if key in options)]
    bias = factors.pop(0) if name in ("addmm", "baddbmm", "addmv") else None
    if len(factors) != 2:
        raise NoRuleError("it needs its two factors as positional arguments")
    left, right = factors
    if bias is not None:
        alpha = options.pop("alpha", 1)
        return Product(left, right, lambda a, b: torch.matmul(a, b) * alpha, bias, (True, right.ndim > 2))
    return Product(left, right, lambda a, b: func(a, b, **options), None, (True, right.ndim > 2))


def einsum(func: Callable[..., Any], args: Any) -> tuple[str, Any]:
    """Classify an einsum.

    Returns:
        ("move", None) if it only rearranges one tensor, ("sum", the tensor) if it sums over axes of one tensor,
        ("product", a Product) for two tensors without a sum, or ("linear", a Product) for two tensors with a sum.

    Raises:
        NoRuleError: if there are more than two tensors, or the equation has no "->".
    """
    equation, *operands = args
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = list(operands[0])
    if not isinstance(equation, str) or "->" not in equation or len(operands) > 2:
        raise NoRuleError('an einsum needs the form "…,…->…" with one or two tensors')
    given, result = equation.replace(" ", "").split("->")
    if len(operands) == 1:
        return ("move", None) if set(given) <= set(result) else ("sum", operands[0])
    first = [letters[:1] == result[:1] for letters in given.split(",")]
    # Letters that are not in the output are summed over. Without such letters, each output has one contribution.
    kind = "product" if set(given) - {","} <= set(result) else "linear"
    left, right = operands
    return kind, Product(left, right, lambda a, b: func(equation, a, b), None, (first[0], first[1]))
