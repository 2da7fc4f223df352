"""The abstract class of all targets."""

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from captum_cams.errors import brief


class Target(ABC):
    """The base class of ready targets: a frozen record that is a function from the model's output to N scores.

    Records with equal values are equal, and a record can be pickled. A subclass is a dataclass with ``frozen=True,
    eq=False, repr=False``, because its fields may be tensors. If it has to see the unchanged sample before it scores
    changed versions of it, it also extends :class:`captum_cams.engine.functions.SampleTarget`.

    Example::

        from dataclasses import dataclass

        @dataclass(frozen=True, eq=False, repr=False)
        class Margin(cc.targets.Target):
            first: int
            second: int

            def __call__(self, output):
                return output[:, self.first] - output[:, self.second]

        maps = cc.GradCAM(model, "layer4").attribute(images, Margin(3, 5))
    """

    @abstractmethod
    def __call__(self, output: Any) -> Tensor:
        """Read one score for each sample, N, from the model's output."""

    def _values(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={brief(value)}' for name, value in self._values().items())})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Target) or type(other) is not type(self):
            return NotImplemented
        theirs = other._values()
        return all(_equal(value, theirs[name]) for name, value in self._values().items())

    def __hash__(self) -> int:
        return hash(repr(self))  # equal records have equal texts: of tensors, the text names the shape alone


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)
