"""What the relevance engine knows of a tensor."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor


class Gate(IntEnum):
    """How surely a tensor is a gate: where two factors depend on the input, the surer one is the constant."""

    NONE = 0
    CLAMPED = 1
    """Cut off below and above, as by relu6, which is an activation as well."""
    SIGNED = 2
    """A tanh, which is a signal where a sigmoid multiplies it."""
    OPENING = 3
    """A sigmoid or softmax."""


@dataclass(frozen=True)
class Mark:
    """What a tensor of the run is to the relevance; tensors without a mark are constants."""

    pixels: bool = False
    """Made of the input, before any layer."""
    kind: Gate = Gate.NONE
    floor: bool = False
    """Cut off below."""
    ceiling: bool = False
    """Cut off above."""
    amounts: Tensor | None = None
    """How much of the input is in each element: 0 in a constant; of pixels, the sum of the weights with which they
    were added, without signs. None is 1 everywhere."""
    stacked: int | None = None
    """The axis along which whole tensors were stacked."""
    layer: "Layer | None" = None

    @property
    def gate(self) -> Gate:
        return max(self.kind, Gate.CLAMPED) if self.floor and self.ceiling else self.kind


@dataclass(frozen=True)
class Layer:
    """The convolution or linear map behind a tensor, which a BatchNorm may be multiplied into."""

    inputs: Tensor
    weight: Tensor
    linear: Any
    versions: tuple[int, int]
    """Of the input and of the output, when the layer had run."""


def mark(tensor: Tensor, what: Mark | None) -> Tensor:
    tensor._captum_cams_mark = what  # type: ignore[attr-defined]
    return tensor


def mark_of(value: Any) -> Mark | None:
    return getattr(value, "_captum_cams_mark", None)


def known_mark(tensor: Tensor) -> Mark:
    """The mark of a tensor that has one."""
    known = mark_of(tensor)
    assert known is not None
    return known


def with_mark(result: Any, what: Mark) -> Any:
    """The result of an operation, whose tensors with fractional values get the mark."""
    for one in tensors([result]):
        if one.is_floating_point():
            mark(one, what)
    return result


def tensors(values: Any) -> Iterator[Tensor]:
    """All tensors in arguments or results, also in lists and tuples."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from tensors(value)


def joined(marks: Sequence[Mark]) -> Mark:
    """Of a tensor that is made of several: what is true of each of them."""
    first = marks[0]
    kind, floor, ceiling = min(m.kind for m in marks), all(m.floor for m in marks), all(m.ceiling for m in marks)
    return replace(Mark(first.pixels), kind=kind, floor=floor, ceiling=ceiling)


def amounts(tensor: Tensor) -> Tensor:
    """The amounts of a marked tensor; zeros for a constant."""
    known = mark_of(tensor)
    if known is None:
        return torch.zeros_like(tensor)
    return torch.ones_like(tensor) if known.amounts is None else known.amounts


def live(tensor: Tensor) -> Tensor | None:
    """True where the tensor is no constant; None is everywhere."""
    known = mark_of(tensor)
    return None if known is None or known.amounts is None else known.amounts != 0
