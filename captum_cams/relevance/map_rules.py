"""How relevance passes operations without weights: single values, sums, and elements that change their places."""

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
from captum_cams.relevance.sharing import Kept, Passed, shared

Rule = Callable[[FunctionCall], Any]
_OUT_OF_PLACE = {"add": torch.add, "radd": torch.add, "iadd": torch.add, "rsub": torch.rsub}


class MapRules:
    """Each runs a call of one kind and gives the result its backward pass and its mark.

    Args:
        signed: whether negative values take part in sums and poolings, and constants keep their part of a sum.
    """

    def __init__(self, signed: bool) -> None:
        self._signed = signed
        self._read: dict[int, list[Kept]] = {}

    def detached(self, call: FunctionCall) -> Any:
        """The input, detached for a part that is not trained, is the input still; a map gets no relevance."""
        known = known_mark(call.args[0])
        return self.passed(call, call.args[0], known) if known.pixels else with_mark(call.run(), known)

    def compared(self, call: FunctionCall) -> Any:
        """A comparison gives a mask, which is a gate of zeros and ones."""
        result = call.run()
        return mark(result, Mark(known_mark(call.marked[0]).pixels, Gate.OPENING))

    def rearranged(self, call: FunctionCall) -> Any:
        """Relevance follows the elements to their new places."""
        result = call.run()
        if not any(one.requires_grad for one in tensors([result])):  # a shape, say
            return with_mark(result, Mark())
        becomes = joined([known_mark(tensor) for tensor in call.marked])
        if call.name == "stack":
            axis = call.argument(1, "dim", 0)
            becomes = replace(becomes, stacked=axis % result.ndim)
        with_mark(result, becomes)
        for one, amount in zip(tensors([result]), self._moved_amounts(call), strict=False):
            mark(one, replace(becomes, amounts=amount))
        return result

    def _moved_amounts(self, call: FunctionCall) -> list[Tensor]:
        constants = [tensor for tensor in call.given if not mark_of(tensor) and tensor.is_floating_point()]
        filled = call.name == "pad" and call.argument(2, "mode", "constant") == "constant"
        known = any(known_mark(tensor).amounts is not None for tensor in call.marked)
        if not (known or filled or call.name == "unfold" or (call.name in names.JOINING and constants)):
            return []
        if call.name == "pad":  # with zeros, whatever the value
            call = FunctionCall(call.func, call.args[:3], {key: v for key, v in call.kwargs.items() if key != "value"})
        with torch.no_grad():
            return list(tensors([call.on(amounts)]))

    def elementwise(self, call: FunctionCall) -> Any:
        """Relevance passes a change of single values as it is, also where the value is zero."""
        x = self.alone(call)
        return self.passed(call, x, bounded(call, known_mark(x)))

    def passed(self, call: FunctionCall, x: Tensor, becomes: Mark) -> Any:
        if call.writes:
            self._keep_readings(call.args[0])
        version = version_of(x)
        with torch.no_grad():
            output = call.run()
        if output is x or version_of(x) != version:
            return mark(x, becomes)  # in place, or handed through: where relevance comes from is the same
        if any(output is one for one in call.given):  # a constant that has become a map
            return mark(output.copy_(Passed.apply(x, [output.clone()])), becomes)
        if becomes.amounts is not None:
            becomes = replace(becomes, amounts=becomes.amounts.expand_as(output))
        if output.ndim != x.ndim:
            becomes = replace(becomes, stacked=None)
        return mark(Passed.apply(x, [output]), becomes)

    def pool(self, call: FunctionCall) -> Any:
        """z⁺ with the positive weights of a sum or pooling: negative values take no part. Pixels: by their weights."""
        x = self.alone(call)
        known = known_mark(x)
        if call.name == "interpolate" and call.argument(3, "mode", "nearest").startswith("nearest"):
            return self.rearranged(call)
        axis = call.argument(1, "dim", call.kwargs.get("axis"))
        axis = axis[0] if isinstance(axis, tuple | list) and len(axis) == 1 else axis
        added = known.stacked is not None and isinstance(axis, int) and axis % x.ndim == known.stacked
        signed = self._signed or added or (call.name == "interpolate" and call.argument(3, "mode") == "bicubic")
        strength = amounts(x) if known.pixels else strength_of(x, signed)
        if call.name in names.EXTREMA:  # not linear: its backward pass compares the values again
            strength = strength.clone()

        def whole(strength: Tensor) -> Tensor:
            found = call.on(lambda tensor: strength if tensor is x else tensor)
            return found if isinstance(found, Tensor) else found[0]

        with torch.no_grad():
            output = call.run()
        values = output if isinstance(output, Tensor) else output[0]
        # Under the ε-rule, constants among the values keep their part.
        divisor = wide(values.detach()).clone() if self._signed else None
        result = shared([(x, self.kept(x, [strength]))], whole, values, divisor)
        amount = None
        if known.pixels or known.amounts is not None:
            with torch.no_grad():
                amount = whole(amounts(x))
        mark(result, replace(known, amounts=amount, stacked=None, layer=None))
        return result if isinstance(output, Tensor) else type(output)((result, *output[1:]))

    def extremum(self, call: FunctionCall) -> Any:
        """Relevance goes to the largest; a constant cuts values off, which relevance passes as it is."""
        lowest = call.name in ("min", "minimum", "fmin")
        if len(list(tensors((*call.args[:2], call.kwargs.get("other"))))) < 2:
            if lowest:
                raise NoRuleError("there is no rule for it")
            return self._winner(call) if known_mark(call.args[0]).pixels else self.pool(call)
        if len(call.marked) == 1:
            x = call.marked[0]
            known = replace(known_mark(x), layer=None)
            return self.passed(call, x, replace(known, ceiling=True) if lowest else replace(known, floor=True))
        return self._winner(call)

    def _winner(self, call: FunctionCall) -> Any:
        result = call.run()
        becomes = joined([known_mark(tensor) for tensor in call.marked])
        with_mark(result, becomes)
        if any(known_mark(tensor).amounts is not None for tensor in call.marked):
            with torch.no_grad():
                found = call.on(amounts)
            mark(next(tensors([result])), replace(becomes, amounts=next(tensors([found]))))
        return result

    def sum(self, call: FunctionCall) -> Any:
        """Tensors that are added share relevance in proportion to their values, pixels to their weights."""
        if len(call.marked) == 1 and not self._signed:
            return self.passed(call, call.marked[0], _beside_constant(call))
        left, right = call.args[0], call.argument(1, "other")
        scale = call.argument(2, "alpha", 1)
        plain: Any = _OUT_OF_PLACE.get(call.name, torch.sub)
        if len(call.marked) == 1:
            return self._part_of_sum(call, plain, left, right, scale)
        with torch.no_grad():
            output = plain(left, right, alpha=scale)
        becomes = joined([known_mark(left), known_mark(right)])
        inputs = [left, right]
        if becomes.pixels:
            scale, plain = abs(scale), torch.add
            strengths = [amounts(x) for x in inputs]
        else:
            strengths = [strength_of(x, signed=True) for x in inputs]
        if call.writes:
            self._keep_readings(left)
            strengths[0] = strengths[0].clone()
        pairs = [(x, self.kept(x, [strength])) for x, strength in zip(inputs, strengths, strict=True)]
        result = shared(pairs, lambda a, b: plain(a, b, alpha=scale), output)
        if becomes.pixels:
            becomes = replace(becomes, amounts=plain(*strengths, alpha=scale))
        elif all(known_mark(x).amounts is not None for x in inputs):
            becomes = replace(becomes, amounts=amounts(left) + amounts(right))
        return mark(left.copy_(result) if call.writes else result, becomes)

    def _part_of_sum(self, call: FunctionCall, plain: Any, left: Any, right: Any, scale: Any) -> Tensor:
        """A map and a constant, as a skip connection around the layer, which keeps its part of the relevance."""
        (x,) = call.marked
        with torch.no_grad():
            output = plain(left, right, alpha=scale)
        if call.writes:
            self._keep_readings(left)
        strength = x.detach().clone() if call.writes else x.detach()

        def whole(part: Tensor) -> Tensor:
            zero = torch.zeros((), dtype=part.dtype, device=part.device).expand_as(output)
            return plain(part, zero, alpha=scale) if x is left else plain(zero, part, alpha=scale)

        result = shared([(x, self.kept(x, [wide(strength)]))], whole, output, wide(output).clone())
        return mark(left.copy_(result) if call.writes else result, replace(_beside_constant(call), layer=None))

    def alone(self, call: FunctionCall) -> Tensor:
        """The one tensor of the call that depends on the input."""
        x = next(tensors(call.args), None) if call.args else call.kwargs.get("input")
        if not (len(call.marked) == 1 and call.marked[0] is x):
            raise NoRuleError("another of its arguments depends on the input")
        return x

    def kept(self, x: Tensor, strengths: Any) -> Kept:
        kept = Kept(strengths)
        if any(_storage(strength) == _storage(x) for strength in strengths):
            self._read.setdefault(_storage(x), []).append(kept)
        return kept

    def _keep_readings(self, x: Tensor) -> None:
        """Copy what operations have read of a tensor that is about to be written to."""
        for kept in self._read.pop(_storage(x), ()):
            kept.copy()


def bounded(call: FunctionCall, known: Mark) -> Mark:
    """What is known of the values behind an activation or norm."""
    name = call.name
    if name in names.NORMS:
        return replace(known, kind=Gate.NONE, floor=False, ceiling=False, layer=None)
    floor, ceiling = name in names.FLOORS, name in names.CEILINGS
    if name in ("neg", "negative"):
        known = replace(known, floor=known.ceiling, ceiling=known.floor)
    if name in ("clamp", "clip"):
        floor, ceiling = (call.argument(*place) is not None for place in ((1, "min"), (2, "max")))
    kind = max(known.kind, names.GATES.get(name, Gate.NONE))
    return replace(known, kind=kind, floor=known.floor or floor, ceiling=known.ceiling or ceiling, layer=None)


def _beside_constant(call: FunctionCall) -> Mark:
    """What is known of a sum of a map and a constant."""
    (x,), alpha = call.marked, call.argument(2, "alpha", 1)
    known, scaled = known_mark(x), (x is call.args[0]) == (call.name == "rsub")
    if scaled and "sub" in call.name:
        known = replace(known, floor=known.ceiling, ceiling=known.floor, layer=None)
    return replace(unbounded(known), layer=None) if scaled and alpha != 1 else known


def unbounded(known: Mark) -> Mark:
    """Behind a factor that may be negative, one bound alone is not known any more."""
    both = known.floor and known.ceiling
    return replace(known, floor=both, ceiling=both)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def strength_of(x: Tensor, signed: bool) -> Tensor:
    """The values of a map that take part; constants do not."""
    values, alive = wide(x.detach()), live(x)
    if alive is not None:
        values = values.where(alive, 0)
    return values if signed or values.min() >= 0 else values.clamp(min=0)
