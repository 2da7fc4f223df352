"""Rules for what attention adds: products of two maps, the softmax of scores, norms written out, and masks."""

from typing import Any

import torch
from torch import Tensor

from captum_cams.engine.targets import wide
from captum_cams.relevance.function_call import FunctionCall
from captum_cams.relevance.map_rules import MapRules, strength_of
from captum_cams.relevance.marks import Gate, Mark, amounts, joined, known_mark, mark, mark_of, with_mark
from captum_cams.relevance.products import NoRuleError, Product
from captum_cams.relevance.rules import EpsilonRule, ZPlusRule
from captum_cams.relevance.sharing import Attended, shared

EPSILON = 1e-6
"""ε of a product of two maps, if the rule of the layers has none."""


class AttentionRules(MapRules):
    """Propagates relevance through attention as AttnLRP does.

    Achtibat et al., "AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for Transformers", ICML 2024.

    Args:
        layers: the rule of the layers, whose ε also stabilises products of two maps.
    """

    def __init__(self, layers: ZPlusRule | EpsilonRule) -> None:
        super().__init__(layers.signed)
        self._stabiliser: EpsilonRule = layers if isinstance(layers, EpsilonRule) else EpsilonRule(EPSILON)

    def softmax(self, operation: FunctionCall) -> Any:
        """The softmax s of scores x is a map: R_i = x_i (R_i − s_i Σ_j R_j), eq. 13. Any other softmax is a gate."""
        x = self.alone(operation)
        if not known_mark(x).scores:
            return self.elementwise(operation)
        output, values = _output(operation), wide(x.detach())
        # A masked score is −∞ and its relevance is 0, whose product would be NaN.
        finite = values.clamp(min=torch.finfo(values.dtype).min)
        scores = self.reading(x, [finite])
        return mark(Attended.apply(x, scores, [output], operation.argument(1, "dim")), Mark(scores=True))

    def bilinear(self, operation: FunctionCall, product: Product) -> Tensor:
        """Both factors of a matrix product get half: R_ij = Σ_p a_ij v_jp R_ip / (2 z_ip + ε sign z_ip), eq. 15."""
        factors = (product.left, product.right)
        if known_mark(product.left).pixels:
            raise NoRuleError("both factors are the input")
        if mark_of(product.bias):
            raise NoRuleError("what it adds depends on the input")
        output = None if product.bias is None and all(map(_whole, factors)) else _output(operation)
        pairs = [(x, self.reading(x, [strength_of(x, signed=True)])) for x in factors]
        # A bias absorbs its share, as in a sum.
        whole = None if product.bias is None or output is None else wide(output)
        result = shared(
            pairs, product.function, output, lambda z: self._stabiliser.divisor(2 * (z if whole is None else whole))
        )
        # A product of two maps gives scores, and the product of such weights with the values does not.
        return mark(result, Mark(scores=known_mark(product.left).scores == known_mark(product.right).scores))

    def uniform(self, operation: FunctionCall, product: Product) -> Tensor:
        """Both factors of an element-wise product get half of its relevance, eq. 14."""
        left, right = product.left, product.right
        if known_mark(left).pixels:
            raise NoRuleError("both factors are the input")
        if operation.writes:
            self._keep_readings(left)
        with torch.no_grad():
            output = product.function(left, right)
        ones = [torch.ones((), dtype=wide(x).dtype, device=x.device).expand(x.shape) for x in (left, right)]
        pairs = [(x, self.reading(x, [one])) for x, one in zip((left, right), ones, strict=True)]
        result = shared(pairs, product.function, output, torch.full_like(wide(output), 2))
        becomes = joined([known_mark(left), known_mark(right)])
        if all(known_mark(x).amounts is not None for x in (left, right)):
            amount = product.function(amounts(left), ones[1]) + product.function(ones[0], amounts(right))
            becomes = Mark(scores=becomes.scores, amounts=amount)
        return mark(left.copy_(result) if operation.writes else result, becomes)

    def power(self, operation: FunctionCall) -> Any:
        """A product of a map with itself passes relevance unchanged; a root is a statistic."""
        exponent = 2 if operation.name == "square" else operation.argument(1, "exponent")
        if not isinstance(exponent, int | float) or known_mark(self.alone(operation)).pixels:
            raise NoRuleError("there is no rule for it")
        if exponent in (0.5, -0.5):
            return self.statistic(operation)
        if exponent < 1 or exponent != int(exponent):
            raise NoRuleError("there is no rule for it")
        x = self.alone(operation)
        known = known_mark(x)
        return self.passed(operation, x, Mark(scores=known.scores, amounts=known.amounts))

    def statistic(self, operation: FunctionCall) -> Any:
        """A norm or standard deviation is a constant factor, so that relevance passes the norm unchanged, eq. 16."""
        with torch.no_grad():
            result = operation.run()
        return with_mark(result, Mark(known_mark(operation.marked[0]).pixels, Gate.STATISTIC))

    def sum(self, operation: FunctionCall) -> Any:
        """Subtracting the mean of a map from it passes relevance unchanged, as the whole LayerNorm does."""
        left, known = operation.args[0], mark_of(operation.argument(1, "other"))
        centred = known is not None and known.mean_of is left
        if centred and operation.name in ("sub", "subtract", "isub"):
            return self.passed(operation, left, Mark(amounts=known_mark(left).amounts))
        return super().sum(operation)

    def masked(self, operation: FunctionCall) -> Any:
        """Relevance stays at the elements that a mask keeps, and goes back to the tensor that they come from."""
        condition, chosen, other = _choice(operation)
        if operation.writes:
            self._keep_readings(operation.args[0])
        known = joined([known_mark(x) for x in (chosen, other) if mark_of(x)])
        with torch.no_grad():
            amount = torch.where(condition, _amounts(chosen), _amounts(other))
        return mark(operation.run(), Mark(known.pixels, scores=known.scores, amounts=amount))


def _output(operation: FunctionCall) -> Any:
    with torch.no_grad():
        return operation.run()


def _whole(x: Tensor) -> bool:
    """Tell whether the strengths of a map are its values, in the precision in which the network computes."""
    computed = not torch.is_autocast_enabled(x.device.type) and wide(x).dtype == x.dtype
    return computed and known_mark(x).amounts is None


def _choice(operation: FunctionCall) -> tuple[Tensor, Any, Any]:
    """Return the condition, what is chosen where it is true, and what is chosen elsewhere."""
    if operation.name == "masked_fill":
        return operation.argument(1, "mask"), operation.argument(2, "value"), operation.args[0]
    first, second, third = (operation.argument(*key) for key in ((0, "condition"), (1, "input"), (2, "other")))
    if not (isinstance(first, Tensor) and isinstance(second, Tensor) and third is not None):
        raise NoRuleError("it needs a condition and two values as positional arguments")
    return (first, second, third) if first.dtype == torch.bool else (second, first, third)


def _amounts(value: Any) -> Tensor:
    return amounts(value) if isinstance(value, Tensor) else torch.zeros(())
