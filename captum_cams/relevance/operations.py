"""Apply the rule of every operation in a run, whether a module or a function calls it."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captum_cams.errors import CAMError
from captum_cams.relevance.function_call import FunctionCall
from captum_cams.relevance.map_rules import bounded
from captum_cams.relevance.marks import Gate, Mark, joined, known_mark, mark_of, tensors, with_mark
from captum_cams.relevance.operation_names import (
    COMPARISONS,
    ELEMENTWISE,
    MASKS,
    MATRIX_PRODUCTS,
    PRODUCTS,
    REARRANGING,
    STATISTICS,
    SUMS,
)
from captum_cams.relevance.operation_rules import OperationRules
from captum_cams.relevance.products import NoRuleError
from captum_cams.relevance.rules import EpsilonRule, ZBetaRule, ZPlusRule
from captum_cams.relevance.sharing import FUNCTIONS
from captum_cams.relevance.written_out import WRITTEN_OUT


class Operations(TorchFunctionMode):
    """Gives every torch function on a marked tensor the backward pass of its rule while the context is active.

    Args:
        fold: whether to multiply the scale of a BatchNorm into the convolution before it. Otherwise relevance passes
            BatchNorm unchanged.
        pixels: the rule of layers that read the input.
        describe: names a module in error messages.
        layers: the rule of the other layers; None means z⁺.
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
        """True after the run has passed the start of relevance; later operations need no rule."""
        self.where: list[nn.Module] = []
        """The modules that are running, with the innermost module last."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        operation = FunctionCall(func, args, kwargs or {})
        if self.ended or not operation.given:  # such as setting the gradient mode
            return operation.run()
        marked = operation.marked
        self._refuse_hidden(operation.given)
        if not marked:
            with torch.no_grad():  # so that a tensor with a graph and without a mark shows that the trail is broken
                return operation.run()
        self._refuse_statistics(operation)
        pixels = {known_mark(tensor).pixels for tensor in marked}
        if not (any(tensor.requires_grad for tensor in marked) and (torch.is_grad_enabled() or True in pixels)):
            return self._aside(operation)
        plain = WRITTEN_OUT.get(getattr(func, "__name__", "").split(".")[0])
        if plain:
            with self:
                return plain(*args, **operation.kwargs)
        try:
            if len(pixels) > 1 and operation.name not in PRODUCTS:
                raise NoRuleError("it joins the input and a map after the first layer")
            with torch.enable_grad() if True in pixels else nullcontext():
                result = (self._rules.of(operation.name) or self._unknown)(operation)
        except NoRuleError as why:
            raise self._cannot(operation.name, str(why)) from None
        if True in pixels and any((known := mark_of(made)) and not known.pixels for made in tensors([result])):
            torch.set_grad_enabled(True)  # the no_grad around the run resets it
        return result

    def _cannot(self, name: str, why: str) -> CAMError:
        module = f" in {self.describe(self.where[-1])}" if self.where else ""
        return CAMError(
            f"relevance cannot pass {name}{module}: {why}; choose layer= and to= on the same side of it, "
            "or a method without relevance"
        )

    def _refuse_hidden(self, given: list[Tensor]) -> None:
        for tensor in given:
            made_by = tensor.grad_fn
            own = isinstance(made_by, torch.autograd.function.BackwardCFunction) and not isinstance(made_by, FUNCTIONS)
            if own or (made_by is not None and not mark_of(tensor)):
                name = type(made_by).__name__.split("Backward")[0]
                raise self._cannot(name, "it defines its own gradient, or runs in a script or on a part of a tensor")

    def _refuse_statistics(self, operation: FunctionCall) -> None:
        """A norm or standard deviation counts as a constant factor, so that it may only be a factor of a map."""
        statistics = {known_mark(tensor).kind is Gate.STATISTIC for tensor in operation.marked}
        if len(statistics) > 1 and operation.name not in PRODUCTS | {"einsum", *WRITTEN_OUT}:
            raise self._cannot(operation.name, "it joins a map and a norm or standard deviation")

    def _aside(self, operation: FunctionCall) -> Any:
        """Run an operation that depends on the input but not on the end of the trail: no relevance passes it."""
        with torch.no_grad():
            result = operation.run()
        if operation.name in COMPARISONS:
            return self._rules.compared(operation)
        return result if _makes_constants(operation.name) else with_mark(result, _aside_mark(operation))

    def _unknown(self, operation: FunctionCall) -> Any:
        """Run an operation without a rule, which is only allowed if no relevance passes it."""
        if operation.name == "setitem" or (operation.writes and operation.func.__name__.endswith("_")):
            raise NoRuleError("there is no rule for it")
        result = operation.run()
        if any(tensor.is_quantized for tensor in tensors([result])):
            raise NoRuleError("it rounds to integers; explain the network before quantisation")
        if any(tensor.requires_grad for tensor in tensors([result])):
            raise NoRuleError("there is no rule for it")
        return result if _makes_constants(operation.name) else with_mark(result, Mark())


def _makes_constants(name: str) -> bool:
    return name.endswith("_like") or name.startswith("new_")


def _aside_mark(operation: FunctionCall) -> Mark:
    """Return the mark of a result that no relevance passes."""
    marks = [known_mark(tensor) for tensor in operation.marked]
    becomes = joined(marks)
    if operation.name in STATISTICS or all(known.kind is Gate.STATISTIC for known in marks):
        return Mark(becomes.pixels, Gate.STATISTIC)
    if operation.name == "softmax" and becomes.scores:
        return Mark(scores=True)
    if operation.name in ELEMENTWISE:
        return bounded(operation, becomes)
    if operation.name in MATRIX_PRODUCTS | {"einsum"} and len(marks) == 2:
        return Mark(scores=marks[0].scores == marks[1].scores)
    return becomes if operation.name in REARRANGING | PRODUCTS | SUMS | MASKS else Mark()
