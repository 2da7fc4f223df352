"""Watches every operation of a run, whether a module or a function calls it, and applies its rule."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captum_cams.errors import CAMError
from captum_cams.relevance.function_call import FunctionCall
from captum_cams.relevance.map_rules import bounded
from captum_cams.relevance.marks import Mark, joined, known_mark, mark_of, tensors, with_mark
from captum_cams.relevance.operation_names import COMPARISONS, ELEMENTWISE, PRODUCTS, REARRANGING, SUMS
from captum_cams.relevance.operation_rules import OperationRules
from captum_cams.relevance.products import NoRuleError
from captum_cams.relevance.rules import EpsilonRule, ZBetaRule, ZPlusRule
from captum_cams.relevance.sharing import FUNCTIONS


class Operations(TorchFunctionMode):
    """While it is entered, every torch function on a marked tensor gets the backward pass of its rule.

    Args:
        fold: multiply a BatchNorm's scale into the convolution before it; otherwise relevance passes as it is.
        pixels: the rule of a layer that reads the input.
        describe: names a module in messages.
        layers: the rule of the other layers; None is z⁺.
    """

    def __init__(
        self,
        fold: bool,
        pixels: ZBetaRule,
        describe: Callable[[nn.Module], str],
        layers: ZPlusRule | EpsilonRule | None = None,
    ) -> None:
        super().__init__()
        self.describe, self._rules = describe, OperationRules(fold, pixels, layers or ZPlusRule())
        self.ended = False
        """True once the start of relevance is passed; later operations are not watched."""
        self.where: list[nn.Module] = []
        """The modules whose forward is running, innermost last."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = FunctionCall(func, args, kwargs or {})
        if self.ended or not call.given:  # setting the gradient mode, say
            return call.run()
        marked = call.marked
        self._refuse_hidden(call.given)
        if not marked:  # weights, say; without a graph of their own, whatever has one has lost its mark
            with torch.no_grad():
                return call.run()
        pixels = {known_mark(tensor).pixels for tensor in marked}
        if not (any(tensor.requires_grad for tensor in marked) and (torch.is_grad_enabled() or True in pixels)):
            return self._aside(call)
        try:
            if len(pixels) > 1 and call.name not in PRODUCTS:
                raise NoRuleError("it joins the input and a map behind the first layer")
            with torch.enable_grad() if True in pixels else nullcontext():
                result = (self._rules.of(call.name) or self._unknown)(call)
        except NoRuleError as why:
            raise self._cannot(call.name, str(why)) from None
        if True in pixels and any((known := mark_of(one)) and not known.pixels for one in tensors([result])):
            torch.set_grad_enabled(True)  # ended by the no_grad around the run
        return result

    def _cannot(self, name: str, why: str) -> CAMError:
        place = f" in {self.describe(self.where[-1])}" if self.where else ""
        return CAMError(
            f"relevance cannot pass {name}{place}: {why}; choose the layer and to= on one side of it, "
            "or a method without relevance"
        )

    def _refuse_hidden(self, given: list[Tensor]) -> None:
        for tensor in given:
            made_by = tensor.grad_fn
            own = isinstance(made_by, torch.autograd.function.BackwardCFunction) and not isinstance(made_by, FUNCTIONS)
            if own or (made_by is not None and not mark_of(tensor)):
                name = type(made_by).__name__.split("Backward")[0]
                raise self._cannot(name, "it has a gradient of its own, or runs in a script or on part of a tensor")

    def _aside(self, call: FunctionCall) -> Any:
        """What depends on the input and not on the end of the trail: no constant, but no relevance flows through it."""
        with torch.no_grad():
            result = call.run()
        becomes = joined([known_mark(tensor) for tensor in call.marked])
        if call.name in COMPARISONS:
            return self._rules.compared(call)
        if call.name in ELEMENTWISE:
            becomes = bounded(call, becomes)
        elif call.name not in REARRANGING | PRODUCTS | SUMS:
            becomes = Mark()
        return result if _makes_constants(call.name) else with_mark(result, becomes)

    def _unknown(self, call: FunctionCall) -> Any:
        """Constants may be made of a map; anything else needs a rule."""
        if call.name == "setitem" or (call.writes and call.func.__name__.endswith("_")):
            raise NoRuleError("there is no rule for it")
        result = call.run()
        if any(one.is_quantized for one in tensors([result])):
            raise NoRuleError("it rounds to integers; explain the network before it was quantised")
        if any(one.requires_grad for one in tensors([result])):
            raise NoRuleError("there is no rule for it")
        return result if _makes_constants(call.name) else with_mark(result, Mark())


def _makes_constants(name: str) -> bool:
    return name.endswith("_like") or name.startswith("new_")
