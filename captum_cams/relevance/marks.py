"""Marks: what the propagation of relevance knows about a tensor."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor


class Gate(IntEnum):
    """How likely a tensor is a gate. In a product of two tensors with marks, the likelier gate counts as a constant."""

    NONE = 0
    CLAMPED = 1
    """Bounded below and above, such as the output of relu6, which may also be an ordinary activation."""
    SIGNED = 2
    """The output of a tanh, which is not the gate if it is multiplied by a sigmoid."""
    OPENING = 3
    """The output of a sigmoid, or of a softmax that is not attention."""
    STATISTIC = 4
    """A norm, a standard deviation, or what is computed from them alone: a constant factor, as in LayerNorm."""


@dataclass(frozen=True)
class Mark:
    """What is known about a tensor that depends on the input. Tensors without a mark are constants."""

    pixels: bool = False
    """Whether the tensor is computed from the input without a layer in between."""
    kind: Gate = Gate.NONE
    floor: bool = False
    """Whether the values have a lower bound."""
    ceiling: bool = False
    """Whether the values have an upper bound."""
    amounts: Tensor | None = None
    """How much of the input each element contains: 0 for a constant element. For pixels, it is the sum of the absolute
    weights with which they were added. None means 1 everywhere."""
    stacked: int | None = None
    """The axis along which tensors were stacked; None if they were not."""
    scores: bool = False
    """Whether the tensor is made from a product of two maps, as the scores of attention are, whose softmax is a map and
    not a gate. A norm and the product with the values end this."""
    mean_of: Tensor | None = None
    """The tensor whose mean this tensor is; None if it is not a mean."""
    layer: "Layer | None" = None
    """The layer that returned the tensor, if a BatchNorm may be folded into it."""

    @property
    def gate(self) -> Gate:
        """How likely the tensor is a gate."""
        return max(self.kind, Gate.CLAMPED) if self.floor and self.ceiling else self.kind


@dataclass(frozen=True)
class Layer:
    """The convolution or linear layer that returned a tensor, into which a BatchNorm may be folded."""

    inputs: Tensor
    weight: Tensor
    linear: Any
    versions: tuple[int, int]
    """The version counters of input and output directly after the layer had run."""


def mark(tensor: Tensor, what: Mark | None) -> Tensor:
    """Set the mark of a tensor and return the tensor."""
    tensor._captum_cams_mark = what  # type: ignore[attr-defined]
    return tensor


def mark_of(value: Any) -> Mark | None:
    """Return the mark of a tensor; None for a constant."""
    return getattr(value, "_captum_cams_mark", None)


def known_mark(tensor: Tensor) -> Mark:
    """Return the mark of a tensor that is known to have a mark."""
    known = mark_of(tensor)
    assert known is not None
    return known


def with_mark(result: Any, what: Mark) -> Any:
    """Mark all floating-point tensors in the result of an operation and return the result."""
    for tensor in tensors([result]):
        if tensor.is_floating_point():
            mark(tensor, what)
    return result


def tensors(values: Any) -> Iterator[Tensor]:
    """Yield all tensors in arguments or results, also from lists and tuples."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from tensors(value)


def joined(marks: Sequence[Mark]) -> Mark:
    """Return the mark of a tensor that is made from several: what is true for each, and whether one holds scores."""
    first = marks[0]
    kind, floor, ceiling = min(m.kind for m in marks), all(m.floor for m in marks), all(m.ceiling for m in marks)
    return Mark(first.pixels, kind, floor, ceiling, scores=any(m.scores for m in marks))


def amounts(tensor: Tensor) -> Tensor:
    """Return the amounts of a tensor; zeros for a constant."""
    known = mark_of(tensor)
    if known is None:
        return torch.zeros_like(tensor)
    return torch.ones_like(tensor) if known.amounts is None else known.amounts


def live(tensor: Tensor) -> Tensor | None:
    """Return a mask that is False at constant elements; None means that there are none."""
    known = mark_of(tensor)
    return None if known is None or known.amounts is None else known.amounts != 0
