"""Rules for products and layers, and the table of all rules; :class:`AttentionRules` has those of attention."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from captum_cams.engine.targets import wide
from captum_cams.engine.torch_internals import version_of
from captum_cams.relevance import operation_names as names
from captum_cams.relevance.attention_rules import AttentionRules
from captum_cams.relevance.function_call import FunctionCall
from captum_cams.relevance.map_rules import Rule, unbounded
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
from captum_cams.relevance.products import NoRuleError, Product, Weighing, contraction, einsum, flows
from captum_cams.relevance.rules import EpsilonRule, ZBetaRule, ZPlusRule, total
from captum_cams.relevance.sharing import shared


class OperationRules(AttentionRules):
    """Finds the rule of an operation by its name.

    Args:
        fold: as in :class:`Operations`.
        pixels: as in :class:`Operations`.
        layers: the rule of the layers that do not read the input.
    """

    def __init__(self, fold: bool, pixels: ZBetaRule, layers: ZPlusRule | EpsilonRule) -> None:
        super().__init__(layers)
        self._fold, self._layer_rule, self._pixel_rule = fold, layers, pixels
        self._rules: dict[str, Rule] = {
            **dict.fromkeys(names.REARRANGING, self.rearranged),
            **dict.fromkeys(names.ELEMENTWISE, self.elementwise),
            "batch_norm": self._batch_norm,
            "softmax": self.softmax,
            **dict.fromkeys(names.STATISTICS, self.statistic),
            **dict.fromkeys(names.POWERS, self.power),
            **dict.fromkeys(names.MASKS, self.masked),
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
        """Return the rule of an operation; None if there is no rule."""
        return self._rules.get(name)

    def _batch_norm(self, operation: FunctionCall) -> Any:
        x = self.alone(operation)
        if operation.argument(2, "running_var") is None:
            return self.elementwise(operation)
        variance, weight = operation.argument(2, "running_var"), operation.argument(3, "weight")
        with torch.no_grad():
            scale = torch.rsqrt(variance + operation.argument(7, "eps", 1e-5)) * (1 if weight is None else weight)
        return self._scaled(operation, x, scale.reshape(-1, *[1] * (x.ndim - 2)), self._fold)

    def _scaled(self, operation: FunctionCall, x: Tensor, scale: Any, fold: bool) -> Tensor:
        """Relevance passes a product with constants unchanged, unless they are folded into the layer before it."""
        known = known_mark(x)
        layer = known.layer
        if fold and layer and layer.versions == (version_of(layer.inputs), version_of(x)):
            with torch.no_grad():
                output = operation.run()
            weight = layer.weight * scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
            return self._weighed(Weighing(layer.inputs, weight, layer.linear), output)
        if self._signed and operation.name == "batch_norm":  # a linear layer, whose bias absorbs its share
            with torch.no_grad():
                output = operation.run()
            return self._weighed(Weighing(x, scale.expand_as(x), torch.mul), output)
        amount = (amounts(x) * scale).abs() if known.pixels and scale is not None else known.amounts
        return self.passed(operation, x, replace(unbounded(known), amounts=amount, layer=None))

    def _product(self, operation: FunctionCall) -> Any:
        """Relevance passes a product with a constant or a gate unchanged to the other factor."""
        named = (operation.kwargs[key] for key in ("input", "other") if key in operation.kwargs)
        left, right = (*operation.args, *named)[:2]
        divides = "div" in operation.name
        product = Product(left, right, torch.mul)
        if product.of_maps and not divides and known_mark(left).pixels == known_mark(right).pixels:
            return self.uniform(operation, product)
        x, factor = flows(left, right)
        if divides and x is right:
            raise NoRuleError("it divides by a map")
        if (
            mark_of(factor)
            and known_mark(factor).pixels != known_mark(x).pixels
            and known_mark(factor).gate is Gate.NONE
        ):
            raise NoRuleError("it joins the input and a map after the first layer")
        if operation.kwargs.get("rounding_mode"):
            raise NoRuleError("it rounds")
        if mark_of(factor):  # a gate, which does not change the amounts
            return self._scaled(operation, x, None, fold=False)
        scale = 1 / factor if divides else factor
        return self._scaled(operation, x, scale, self._fold and _per_channel(scale, x))

    def _layer(self, operation: FunctionCall) -> Tensor:
        def read(input: Tensor, weight: Tensor, bias: Any = None, *rest: Any, **options: Any) -> Weighing:
            return Weighing(input, weight, lambda x, w: operation.func(x, w, None, *rest, **options), bias)

        weighing = read(*operation.args, **operation.kwargs)
        if not isinstance(weighing.weight, Tensor):
            raise NoRuleError("its weights are packed; explain the network before quantisation")
        if mark_of(weighing.weight):
            raise NoRuleError("its weight depends on the input")
        with torch.no_grad():
            output = operation.run()
        result = self._weighed(weighing, output)
        if self._fold and "transpose" not in operation.name:
            versions = (version_of(weighing.input), version_of(result))
            layer = Layer(weighing.input, wide(weighing.weight.detach()), weighing.linear, versions)
            mark(result, replace(known_mark(result), layer=layer))
        return result

    def _matrix_product(self, operation: FunctionCall) -> Tensor:
        return self._contracted(
            operation, contraction(operation.name, operation.func, operation.args, operation.kwargs)
        )

    def _contracted(self, operation: FunctionCall, product: Product) -> Tensor:
        if product.of_maps:
            return self.bilinear(operation, product)
        weighing = product.weighing()
        with torch.no_grad():
            output = operation.run()
        return self._weighed(weighing, output)

    def _einsum(self, operation: FunctionCall) -> Any:
        kind, what = einsum(operation.func, operation.args)
        if kind == "move":
            return self.rearranged(operation)
        if kind == "sum":
            return self.pool(operation)
        if kind == "linear":
            return self._contracted(operation, what)
        return self.uniform(operation, what) if what.of_maps else self._spread(operation, what.weighing())

    def _spread(self, operation: FunctionCall, weighing: Weighing) -> Tensor:
        """Relevance passes products without a sum unchanged, and that of repeated elements adds up."""
        x, known, ones = weighing.input, known_mark(weighing.input), torch.ones_like(weighing.weight)
        with torch.no_grad():
            output, amount = operation.run(), known.amounts
            if known.pixels or amount is not None:
                amount = weighing.linear(amounts(x), weighing.weight.abs() if known.pixels else ones)
        reading = self.reading(x, [torch.ones_like(x)])
        result = shared([(x, reading)], lambda strength: weighing.linear(strength, ones), output)
        return mark(result, replace(unbounded(known), amounts=amount, stacked=None, mean_of=None, layer=None))

    def _weighed(self, weighing: Weighing, output: Tensor) -> Tensor:
        """Apply the rule of the layers, or the rule of the pixels if no layer comes before this operation."""
        x, known = weighing.input, mark_of(weighing.input)
        if mark_of(weighing.bias):
            raise NoRuleError("what it adds depends on the input")
        if known is None:
            raise NoRuleError("its weight depends on the input")
        if known.pixels and not weighing.samples_first:
            raise NoRuleError("the first axis of the pixels must hold the samples, as in x @ W.T")
        rule = self._pixel_rule if known.pixels else self._layer_rule
        pairs = rule.terms(wide(x.detach()), wide(weighing.weight.detach()), live(x))
        strengths, weights = zip(*pairs, strict=True)

        def whole(*parts: Tensor) -> Tensor:
            return total(weighing.linear, list(zip(parts, weights, strict=True)))

        divisor = rule.divisor(wide(output))
        return mark(shared([(x, self.reading(x, strengths))], whole, output, divisor), Mark(scores=known.scores))


def _per_channel(scale: Any, x: Tensor) -> bool:
    """Tell whether a scale has one value per channel, as in a BatchNorm that is written by hand."""
    if not isinstance(scale, Tensor) or x.ndim < 2 or scale.ndim > x.ndim:
        return False
    shape = (*[1] * (x.ndim - scale.ndim), *scale.shape)
    return shape == (1, x.shape[1], *[1] * (x.ndim - 2))
