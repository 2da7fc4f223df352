"""Rules for operations without weights: element-wise functions, sums, poolings and rearrangements."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from captum_cams.engine.targets import wide
from captum_cams.engine.torch_internals import version_of
from captum_cams.relevance import operation_names as names
from captum_cams.relevance.function_call import FunctionCall
from captum_cams.relevance.marks import (
    Gate,
    Mark,
    amounts,
    joined,
    known_mark,
    live,
    mark,
    mark_of,
    tensors,
    with_mark,
)
from captum_cams.relevance.products import NoRuleError
from captum_cams.relevance.sharing import Passed, Reading, shared

Rule = Callable[[FunctionCall], Any]
_OUT_OF_PLACE = {"add": torch.add, "radd": torch.add, "iadd": torch.add, "rsub": torch.rsub}


class MapRules:
    """Each method runs an operation of one kind and gives the result its backward pass and its mark.

    Args:
        signed: whether negative values get relevance in sums and poolings, and constants absorb their share of a sum.
    """

    def __init__(self, signed: bool) -> None:
        self._signed = signed
        self._readings: dict[int, list[Reading]] = {}

    def detached(self, operation: FunctionCall) -> Any:
        """Relevance passes ``detach`` of the input, which only says that a part is not trained, but not of a map."""
        known = known_mark(operation.args[0])
        return self.passed(operation, operation.args[0], known) if known.pixels else with_mark(operation.run(), known)

    def compared(self, operation: FunctionCall) -> Any:
        """A comparison returns a gate of zeros and ones."""
        result = operation.run()
        return mark(result, Mark(known_mark(operation.marked[0]).pixels, Gate.OPENING))

    def rearranged(self, operation: FunctionCall) -> Any:
        """Relevance follows the elements to their new positions."""
        result = operation.run()
        if not any(tensor.requires_grad for tensor in tensors([result])):  # such as a shape
            return with_mark(result, Mark())
        becomes = joined([known_mark(tensor) for tensor in operation.marked])
        if operation.name == "stack":
            axis = operation.argument(1, "dim", 0)
            becomes = replace(becomes, stacked=axis % result.ndim)
        with_mark(result, becomes)
        for tensor, amount in zip(tensors([result]), self._moved_amounts(operation), strict=False):
            mark(tensor, replace(becomes, amounts=amount))
        return result

    def _moved_amounts(self, operation: FunctionCall) -> list[Tensor]:
        constants = [tensor for tensor in operation.given if not mark_of(tensor) and tensor.is_floating_point()]
        filled = operation.name == "pad" and operation.argument(2, "mode", "constant") == "constant"
        known = any(known_mark(tensor).amounts is not None for tensor in operation.marked)
        if not (known or filled or operation.name == "unfold" or (operation.name in names.JOINING and constants)):
            return []
        if operation.name == "pad":  # amounts are padded with zeros, whatever the value
            operation = FunctionCall(
                operation.func, operation.args[:3], {key: v for key, v in operation.kwargs.items() if key != "value"}
            )
        with torch.no_grad():
            return list(tensors([operation.on(amounts)]))

    def elementwise(self, operation: FunctionCall) -> Any:
        """Relevance passes an element-wise function unchanged, also where the value is zero."""
        x = self.alone(operation)
        return self.passed(operation, x, bounded(operation, known_mark(x)))

    def passed(self, operation: FunctionCall, x: Tensor, becomes: Mark) -> Any:
        """Run an operation whose relevance passes unchanged to ``x``, and mark its result."""
        if operation.writes:
            self._keep_readings(operation.args[0])
        version = version_of(x)
        with torch.no_grad():
            output = operation.run()
        if output is x or version_of(x) != version:
            return mark(x, becomes)  # changed in place or returned as it is: the graph stays the same
        if any(output is tensor for tensor in operation.given):  # a constant was overwritten by a map
            return mark(output.copy_(Passed.apply(x, [output.clone()])), becomes)
        if becomes.amounts is not None:
            becomes = replace(becomes, amounts=becomes.amounts.expand_as(output))
        becomes = replace(becomes, mean_of=None, stacked=becomes.stacked if output.ndim == x.ndim else None)
        return mark(Passed.apply(x, [output]), becomes)

    def pool(self, operation: FunctionCall) -> Any:
        """Sums and poolings use z⁺: negative values get no relevance. Pixels share it according to their weights."""
        x = self.alone(operation)
        known = known_mark(x)
        if operation.name == "interpolate" and operation.argument(3, "mode", "nearest").startswith("nearest"):
            return self.rearranged(operation)
        axis = operation.argument(1, "dim", operation.kwargs.get("axis"))
        axis = axis[0] if isinstance(axis, tuple | list) and len(axis) == 1 else axis
        added = known.stacked is not None and isinstance(axis, int) and axis % x.ndim == known.stacked
        bicubic = operation.name == "interpolate" and operation.argument(3, "mode") == "bicubic"
        signed = self._signed or added or bicubic
        strength = amounts(x) if known.pixels else strength_of(x, signed)
        if operation.name in names.EXTREMA:  # its backward pass compares the values again
            strength = strength.clone()

        def whole(strength: Tensor) -> Tensor:
            pooled = operation.on(lambda tensor: strength if tensor is x else tensor)
            return pooled if isinstance(pooled, Tensor) else pooled[0]

        with torch.no_grad():
            output = operation.run()
        values = output if isinstance(output, Tensor) else output[0]
        # Under the ε-rule, constants among the values absorb their share.
        divisor = wide(values.detach()).clone() if self._signed else None
        result = shared([(x, self.reading(x, [strength]))], whole, values, divisor)
        amount = None
        if known.pixels or known.amounts is not None:
            with torch.no_grad():
                amount = whole(amounts(x))
        mean_of = x if operation.name == "mean" and not known.pixels else None
        mark(result, replace(known, amounts=amount, stacked=None, mean_of=mean_of, layer=None))
        return result if isinstance(output, Tensor) else type(output)((result, *output[1:]))

    def extremum(self, operation: FunctionCall) -> Any:
        """Relevance goes to the largest value. It passes a maximum or minimum with a constant unchanged."""
        lowest = operation.name in ("min", "minimum", "fmin")
        if len(list(tensors((*operation.args[:2], operation.kwargs.get("other"))))) < 2:
            if lowest:
                raise NoRuleError("there is no rule for it")
            return self._winner(operation) if known_mark(operation.args[0]).pixels else self.pool(operation)
        if len(operation.marked) == 1:
            x = operation.marked[0]
            known = replace(known_mark(x), layer=None)
            return self.passed(operation, x, replace(known, ceiling=True) if lowest else replace(known, floor=True))
        return self._winner(operation)

    def _winner(self, operation: FunctionCall) -> Any:
        result = operation.run()
        becomes = joined([known_mark(tensor) for tensor in operation.marked])
        with_mark(result, becomes)
        if any(known_mark(tensor).amounts is not None for tensor in operation.marked):
            with torch.no_grad():
                amount = next(tensors([operation.on(amounts)]))
            mark(next(tensors([result])), replace(becomes, amounts=amount))
        return result

    def sum(self, operation: FunctionCall) -> Any:
        """The terms of a sum share relevance in proportion to their values, and pixels to their weights."""
        # Scores before a softmax count with their bias, and may be near zero without it.
        absorbs = self._signed or known_mark(operation.marked[0]).scores
        if len(operation.marked) == 1 and not absorbs:
            return self.passed(operation, operation.marked[0], _plus_constant(operation))
        left, right = operation.args[0], operation.argument(1, "other")
        scale = operation.argument(2, "alpha", 1)
        plain: Any = _OUT_OF_PLACE.get(operation.name, torch.sub)
        if len(operation.marked) == 1:
            return self._part_of_sum(operation, plain, left, right, scale)
        with torch.no_grad():
            output = plain(left, right, alpha=scale)
        becomes = joined([known_mark(left), known_mark(right)])
        inputs = [left, right]
        if becomes.pixels:
            scale, plain = abs(scale), torch.add
            strengths = [amounts(x) for x in inputs]
        else:
            strengths = [strength_of(x, signed=True) for x in inputs]
        if operation.writes:
            self._keep_readings(left)
            strengths[0] = strengths[0].clone()
        pairs = [(x, self.reading(x, [strength])) for x, strength in zip(inputs, strengths, strict=True)]
        result = shared(pairs, lambda a, b: plain(a, b, alpha=scale), output)
        if becomes.pixels:
            becomes = replace(becomes, amounts=plain(*strengths, alpha=scale))
        elif all(known_mark(x).amounts is not None for x in inputs):
            becomes = replace(becomes, amounts=amounts(left) + amounts(right))
        return mark(left.copy_(result) if operation.writes else result, becomes)

    def _part_of_sum(self, operation: FunctionCall, plain: Any, left: Any, right: Any, scale: Any) -> Tensor:
        """In the sum of a map and a constant, the constant absorbs its share of the relevance."""
        (x,) = operation.marked
        with torch.no_grad():
            output = plain(left, right, alpha=scale)
        if operation.writes:
            self._keep_readings(left)
        strength = x.detach().clone() if operation.writes else x.detach()

        def whole(part: Tensor) -> Tensor:
            zero = torch.zeros((), dtype=part.dtype, device=part.device).expand_as(output)
            return plain(part, zero, alpha=scale) if x is left else plain(zero, part, alpha=scale)

        result = shared([(x, self.reading(x, [wide(strength)]))], whole, output, wide(output).clone())
        becomes = replace(_plus_constant(operation), mean_of=None, layer=None)
        return mark(left.copy_(result) if operation.writes else result, becomes)

    def alone(self, operation: FunctionCall) -> Tensor:
        """Return the only tensor of the operation that depends on the input."""
        x = next(tensors(operation.args), None) if operation.args else operation.kwargs.get("input")
        if not (len(operation.marked) == 1 and operation.marked[0] is x):
            raise NoRuleError("another of its arguments depends on the input")
        return x

    def reading(self, x: Tensor, strengths: Any) -> Reading:
        """Keep the strengths of ``x`` for the backward pass, also if ``x`` is written to later."""
        reading = Reading(strengths)
        if any(_storage(strength) == _storage(x) for strength in strengths):
            self._readings.setdefault(_storage(x), []).append(reading)
        return reading

    def _keep_readings(self, x: Tensor) -> None:
        """Copy all readings of a tensor before the tensor is written to."""
        for reading in self._readings.pop(_storage(x), ()):
            reading.copy()


def bounded(operation: FunctionCall, known: Mark) -> Mark:
    """Return the mark of the result of an activation or normalisation."""
    name = operation.name
    if name in names.NORMS:
        return replace(known, kind=Gate.NONE, floor=False, ceiling=False, scores=False, layer=None)
    floor, ceiling = name in names.FLOORS, name in names.CEILINGS
    if name in ("neg", "negative"):
        known = replace(known, floor=known.ceiling, ceiling=known.floor)
    if name in ("clamp", "clip"):
        floor, ceiling = (operation.argument(*bound) is not None for bound in ((1, "min"), (2, "max")))
    kind = max(known.kind, names.GATES.get(name, Gate.NONE))
    return replace(known, kind=kind, floor=known.floor or floor, ceiling=known.ceiling or ceiling, layer=None)


def _plus_constant(operation: FunctionCall) -> Mark:
    """Return the mark of the sum of a map and a constant."""
    (x,), alpha = operation.marked, operation.argument(2, "alpha", 1)
    known, scaled = known_mark(x), (x is operation.args[0]) == (operation.name == "rsub")
    if scaled and "sub" in operation.name:
        known = replace(known, floor=known.ceiling, ceiling=known.floor, layer=None)
    return replace(unbounded(known), layer=None) if scaled and alpha != 1 else known


def unbounded(known: Mark) -> Mark:
    """Return the mark after a factor that may be negative: a bound remains only if there are both."""
    both = known.floor and known.ceiling
    return replace(known, floor=both, ceiling=both)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def strength_of(x: Tensor, signed: bool) -> Tensor:
    """Return the values that get relevance: zero at constants and, unless ``signed``, at negative values."""
    values, alive = wide(x.detach()), live(x)
    if alive is not None:
        values = values.where(alive, 0)
    return values if signed or values.min() >= 0 else values.clamp(min=0)
