"""The cost of a method: how often the model runs to explain one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any


@dataclass(frozen=True)
class Count:
    """A number of runs that depends on named numbers; ``+`` and ``*`` build it.

    Args:
        terms: the terms of the sum. Each is a whole number and the names that it is multiplied by.

    Example::

        >>> from captum_cams.cost import K
        >>> count = 1 + 2 * K
        >>> str(count), count.at({"K": 512})
        ('1 + 2K', 1025)
    """

    terms: tuple[tuple[int, tuple[str, ...]], ...]

    def __add__(self, other: Count | int) -> Count:
        return Count(self.terms + _count(other).terms)

    def __radd__(self, other: int) -> Count:
        return _count(other) + self

    def __mul__(self, other: Count | int) -> Count:
        pairs = [(left, right) for left in self.terms for right in _count(other).terms]
        return Count(tuple((left[0] * right[0], left[1] + right[1]) for left, right in pairs))

    __rmul__ = __mul__

    def at(self, values: Mapping[str, Any]) -> int:
        """Compute the number from the values of the names.

        Args:
            values: a value for each name. A list or a tuple stands for its length.

        Returns:
            The number of runs.

        Raises:
            KeyError: a name has no value.
        """
        return sum(factor * prod(_number(values[name]) for name in names) for factor, names in self.terms)

    def __str__(self) -> str:
        return " + ".join(_product(factor, names) for factor, names in self.terms)


def named(name: str) -> Count:
    """Make a count of one name: a hyperparameter of the class, or a name that its docstring explains."""
    return Count(((1, (name,)),))


K = named("K")
"""The number of channels of the layer."""
P = named("P")
"""The number of positions of the layer's map."""


@dataclass(frozen=True)
class Cost:
    """How often the model runs to explain one image, at most; ``print`` shows it in one line.

    A count is a number, or a formula of K (channels of the layer), P (positions of the map) and hyperparameters.

    Args:
        whole: the number of forward passes of the whole model.
        behind: the number of forward passes of the part after the layer.
        gradients: the number of backward passes.
        bases: how often a wrapper runs its base.
        base: the cost of the base, if it is known.

    Example::

        >>> print(cc.FDCAM.cost)
        1 + (1 + 2K) after the layer + gradient
        >>> cc.FDCAM.cost.at({"K": 512})
        Cost(whole=1, behind=1025, gradients=1, bases=0, base=None)
    """

    whole: Count | int = 1
    behind: Count | int = 0
    gradients: Count | int = 0
    bases: Count | int = 0
    base: Cost | None = None

    def over(self, base: Cost) -> Cost:
        """Add the cost of the base to the cost of a wrapper."""
        return replace(self, base=base)

    def at(self, values: Mapping[str, Any]) -> Cost:
        """Compute the cost in numbers; the cost of the base is included.

        Args:
            values: a value for each name, such as ``{"K": 512, "P": 49} | explainer.hyperparameters``. The values under
                "base" are used for the base.

        Returns:
            The cost, with whole numbers instead of formulas.

        Raises:
            KeyError: a name has no value.

        Example::

            >>> fdcam = cc.FDCAM(model, "layer4")
            >>> fdcam.total_cost.at({"K": 32} | fdcam.hyperparameters).behind
            65
        """
        whole, behind, gradients = (_count(count).at(values) for count in (self.whole, self.behind, self.gradients))
        if self.base is None:
            return Cost(whole, behind, gradients)
        times, inner = _count(self.bases).at(values), self.base.at({**values, **values.get("base", {})})
        return Cost(whole + times * inner.whole, behind + times * inner.behind, gradients + times * inner.gradients)

    def __str__(self) -> str:
        base = "base" if self.base is None else f"({self.base})"
        parts = [
            "" if self.whole == 0 else str(self.whole),
            _times(self.bases, base, " × "),
            _times(self.behind, "after the layer", " ", single="1 after the layer"),
            _times(self.gradients, "gradient", " × "),
        ]
        return " + ".join(part for part in parts if part) or "0"


def _times(count: Count | int, what: str, between: str, single: str | None = None) -> str:
    """Write a count and what it counts; nothing for 0, and no number for 1."""
    if count in (0, 1):
        return (single or what) if count else ""
    several = isinstance(count, Count) and len(count.terms) > 1
    return (f"({count})" if several else f"{count}") + between + what


def _count(number: Count | int) -> Count:
    """Make a count from a whole number."""
    return number if isinstance(number, Count) else Count(((number, ()),))


def _number(value: Any) -> int:
    """The value of a name: a number, or the length of a list."""
    return len(value) if isinstance(value, Sequence) else value


def _product(factor: int, names: Sequence[str]) -> str:
    """Write a product as papers do: ``2K``, ``K·samples`` or ``2·masks``."""
    if not names:
        return str(factor)
    sign = "" if len(names[0]) == 1 else "·"
    return ("" if factor == 1 else f"{factor}{sign}") + "·".join(names)
