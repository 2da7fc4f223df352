"""How relevance passes each operation: products and layers here, the others in :class:`MapRules`."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from captum_cams.engine.targets import wide
from captum_cams.engine.torch_internals import version_of
from captum_cams.relevance import operation_names as names
from captum_cams.relevance.function_call import FunctionCall
from captum_cams.relevance.map_rules import MapRules, Rule, unbounded
from captum_cams.relevance.marks import (
    Gate,
    Layer,
    Mark,
    amounts,
    known_mark,
    live,
    mark,
    mark_of,
)
from captum_cams.relevance.products import NoRuleError, Weighing, contraction, einsum, flows
from captum_cams.relevance.rules import EpsilonRule, ZBetaRule, ZPlusRule, total
from captum_cams.relevance.sharing import shared


class OperationRules(MapRules):
    """One rule for each operation.

    Args:
        fold: see :class:`Operations`.
        pixels: see :class:`Operations`.
        layers: see :class:`Operations`.
    """

    def __init__(self, fold: bool, pixels: ZBetaRule, layers: ZPlusRule | EpsilonRule) -> None:
        super().__init__(layers.signed)
        self._fold, self._layer_rule, self._pixel_rule = fold, layers, pixels
        self._rules: dict[str, Rule] = {
            **dict.fromkeys(names.REARRANGING, self.rearranged),
            **dict.fromkeys(names.ELEMENTWISE, self.elementwise),
            "batch_norm": self._batch_norm,
            **dict.fromkeys(names.POOLS, self.pool),
            **dict.fromkeys(names.EXTREMA, self.extremum),
            **dict.fromkeys(names.SUMS, self.sum),
            **dict.fromkeys(names.PRODUCTS, self._product),
            **dict.fromkeys(names.LAYERS, self._layer),
            **dict.fromkeys(names.MATRIX_PRODUCTS, self._matrix_product),
            "einsum": self._einsum,
            **dict.fromkeys(names.COMPARISONS, self.compared),
            "detach": self.detached,
        }

    def of(self, name: str) -> Rule | None:
        return self._rules.get(name)

    def _batch_norm(self, call: FunctionCall) -> Any:
        x = self.alone(call)
        if call.argument(2, "running_var") is None:
            return self.elementwise(call)
        variance, weight = call.argument(2, "running_var"), call.argument(3, "weight")
        with torch.no_grad():
            scale = torch.rsqrt(variance + call.argument(7, "eps", 1e-5)) * (1 if weight is None else weight)
        return self._scaled(call, x, scale.reshape(-1, *[1] * (x.ndim - 2)), self._fold)

    def _scaled(self, call: FunctionCall, x: Tensor, scale: Any, fold: bool) -> Tensor:
        """Relevance passes a product with constants as it is, unless they are multiplied into the layer before."""
        known = known_mark(x)
        layer = known.layer
        if fold and layer and layer.versions == (version_of(layer.inputs), version_of(x)):
            with torch.no_grad():
                output = call.run()
            weight = layer.weight * scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
            return self._weighed(Weighing(layer.inputs, weight, layer.linear), output)
        if self._signed and call.name == "batch_norm":  # a linear layer of its own, whose bias keeps its part
            with torch.no_grad():
                output = call.run()
            return self._weighed(Weighing(x, scale.expand_as(x), torch.mul), output)
        amount = (amounts(x) * scale).abs() if known.pixels and scale is not None else known.amounts
        return self.passed(call, x, replace(unbounded(known), amounts=amount, layer=None))

    def _product(self, call: FunctionCall) -> Any:
        """Relevance passes a product with a constant or a gate as it is, to the other factor."""
        left, right = (*call.args, *(call.kwargs[key] for key in ("input", "other") if key in call.kwargs))[:2]
        x, factor = flows(left, right)
        divides = "div" in call.name
        if divides and x is right:
            raise NoRuleError("it divides by a map")
        if (
            mark_of(factor)
            and known_mark(factor).pixels != known_mark(x).pixels
            and known_mark(factor).gate is Gate.NONE
        ):
            raise NoRuleError("it joins the input and a map behind the first layer")
        if call.kwargs.get("rounding_mode"):
            raise NoRuleError("it rounds")
        if mark_of(factor):  # a gate, which does not change how much of the pixels there is
            return self._scaled(call, x, None, fold=False)
        scale = 1 / factor if divides else factor
        return self._scaled(call, x, scale, self._fold and _per_channel(scale, x))

    def _layer(self, call: FunctionCall) -> Tensor:
        def weighing(input: Tensor, weight: Tensor, bias: Any = None, *rest: Any, **options: Any) -> Weighing:
            return Weighing(input, weight, lambda x, w: call.func(x, w, None, *rest, **options), bias)

        found = weighing(*call.args, **call.kwargs)
        if not isinstance(found.weight, Tensor):
            raise NoRuleError("its weights are packed; explain the network before it was quantised")
        if mark_of(found.weight):
            raise NoRuleError("its weight depends on the input")
        with torch.no_grad():
            output = call.run()
        result = self._weighed(found, output)
        if self._fold and "transpose" not in call.name:
            versions = (version_of(found.input), version_of(result))
            layer = Layer(found.input, wide(found.weight.detach()), found.linear, versions)
            mark(result, replace(known_mark(result), layer=layer))
        return result

    def _matrix_product(self, call: FunctionCall) -> Tensor:
        found = contraction(call.name, call.func, call.args, call.kwargs)
        with torch.no_grad():
            output = call.run()
        return self._weighed(found, output)

    def _einsum(self, call: FunctionCall) -> Any:
        kind, what = einsum(call.func, call.args)
        if kind == "move":
            return self.rearranged(call)
        if kind == "sum":
            return self.pool(call)
        if kind == "product":
            return self._spread(call, what)
        with torch.no_grad():
            output = call.run()
        return self._weighed(what, output)

    def _spread(self, call: FunctionCall, found: Weighing) -> Tensor:
        """Products without a sum: relevance passes as it is, and what was repeated is added up."""
        x, known, ones = found.input, known_mark(found.input), torch.ones_like(found.weight)
        with torch.no_grad():
            output, amount = call.run(), known.amounts
            if known.pixels or amount is not None:
                amount = found.linear(amounts(x), found.weight.abs() if known.pixels else ones)
        result = shared([(x, self.kept(x, [torch.ones_like(x)]))], lambda one: found.linear(one, ones), output)
        return mark(result, replace(unbounded(known), amounts=amount, stacked=None, layer=None))

    def _weighed(self, found: Weighing, output: Tensor) -> Tensor:
        """z⁺, or zβ for a layer that reads the input."""
        x, known = found.input, mark_of(found.input)
        if mark_of(found.bias):
            raise NoRuleError("what it adds depends on the input")
        if known is None:
            raise NoRuleError("its weight depends on the input")
        if known.pixels and not found.samples_first:
            raise NoRuleError("the samples must lie along the first axis of the pixels, as in x @ W.T")
        rule = self._pixel_rule if known.pixels else self._layer_rule
        pairs = rule.terms(wide(x.detach()), wide(found.weight.detach()), live(x))
        strengths, weights = zip(*pairs, strict=True)

        def whole(*parts: Tensor) -> Tensor:
            return total(found.linear, list(zip(parts, weights, strict=True)))

        divisor = rule.divisor(wide(output))
        return mark(shared([(x, self.kept(x, strengths))], whole, output, divisor), Mark())


def _per_channel(scale: Any, x: Tensor) -> bool:
    """Whether a scale is that of a BatchNorm, written by hand."""
    if not isinstance(scale, Tensor) or x.ndim < 2 or scale.ndim > x.ndim:
        return False
    shape = (*[1] * (x.ndim - scale.ndim), *scale.shape)
    return shape == (1, x.shape[1], *[1] * (x.ndim - 2))
