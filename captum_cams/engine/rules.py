"""Rules that share the relevance of a linear layer's output among its inputs, for this engine and for Captum's LRP."""

from collections.abc import Callable
from copy import copy
from typing import Any

import torch
from captum.attr._utils.lrp_rules import PropagationRule
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from captum_cams.errors import CAMError, shape_of

Linear = Callable[[Tensor, Tensor], Tensor]
"""Input and weight to output, without a bias."""
Bound = float | Tensor | None


class ZPlusRule(PropagationRule):
    """Share relevance in proportion to the positive contributions, z⁺ (αβ with α = 1, β = 0).

    Montavon et al., "Explaining NonLinear Classification Decisions with Deep Taylor Decomposition", Pattern
    Recognition 2017, eq. 19, for inputs of either sign: R_i = Σ_j (x_i⁺ w_ij⁺ + x_i⁻ w_ij⁻) R_j / z_j with
    z_j = Σ_i x_i⁺ w_ij⁺ + x_i⁻ w_ij⁻, and 0 where z_j = 0. A bias takes no part.

    ``module.rule = ZPlusRule()`` makes ``captum.attr.LRP`` and ``LayerLRP`` use it on convolutions and Linears.
    """

    def terms(self, inputs: Tensor, weight: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Pairs of inputs and weights; the linear map of each pair, added up, is z."""
        positive = weight.clamp(min=0)
        if inputs.detach().min() >= 0:
            return [(inputs, positive)]
        return [(inputs.clamp(min=0), positive), (inputs.clamp(max=0), weight.clamp(max=0))]

    def denominator(self, inputs: Tensor, weight: Tensor, linear: Linear) -> Tensor:
        """z, whose gradient times the input is the share of each input."""
        parts = [linear(x, w) for x, w in self.terms(inputs, weight.detach())]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)

    def carried(self, inputs: Tensor, weight: Tensor, linear: Linear, output: Tensor) -> Tensor:
        """The output, whose relevance over activation goes on to the inputs."""
        return Carried.apply(self.denominator(inputs, weight, linear), [output])

    def pool(self, func: Any, inputs: Tensor, *rest: Any, **options: Any) -> Any:
        """Positive weights of a pooling: negative values take no part."""
        if inputs.detach().min() >= 0:
            return func(inputs, *rest, **options)
        with torch.no_grad():
            output = func(inputs, *rest, **options)
        return Carried.apply(func(inputs.clamp(min=0), *rest, **options), [output])

    def forward_hook(self, module: nn.Module, inputs: Any, outputs: Tensor) -> Tensor:
        """Captum's hook on the second run, whose output is z in the place of the module's own."""
        weight = module._parameters.get("weight")
        if weight is None or weight.ndim < 2:
            raise CAMError(
                f"{type(self).__name__} must be the rule of a convolution or Linear, got {type(module).__name__}; "
                "give this module one of Captum's rules"
            )
        return super().forward_hook(module, inputs, self.denominator(inputs[0], weight, _without_bias(module)))

    def _manipulate_weights(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        """Nothing: the terms are made of copies."""


class EpsilonRule:
    """Share relevance in proportion to all contributions, of which ε and the bias keep their part.

    Bach et al., "On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation",
    PLoS ONE 2015, eq. 58: R_i = Σ_j x_i w_ij R_j / (z_j + ε sign z_j), with z_j the output of the layer.

    Args:
        epsilon: ε, absolute.
    """

    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon

    def carried(self, inputs: Tensor, weight: Tensor, linear: Linear, output: Tensor) -> Tensor:
        """The output, whose relevance over activation goes on to the inputs."""
        return Carried.apply(linear(inputs, weight.detach()), [output], output + self.epsilon * output.sign())

    def pool(self, func: Any, inputs: Tensor, *rest: Any, **options: Any) -> Any:
        """The gradient of a pooling is its share."""
        return func(inputs, *rest, **options)


class ZBetaRule(ZPlusRule):
    """Share relevance among pixels, which are bounded: zβ (zennit: ZBox).

    Montavon et al. 2017, eq. 20: R_i = Σ_j (x_i w_ij − l_i w_ij⁺ − h_i w_ij⁻) R_j / z_j with z_j the sum of the
    same over i, and 0 where z_j = 0.

    Args:
        low: l, a number, one per channel, or a tensor that broadcasts to the input; None is each sample's minimum
            (Qiu et al.'s code for FG-CAM).
        high: h, likewise; None is each sample's maximum.
    """

    def __init__(self, low: Bound = None, high: Bound = None) -> None:
        self.low, self.high = low, high

    def terms(self, inputs: Tensor, weight: Tensor) -> list[tuple[Tensor, Tensor]]:
        low = _bound(self.low, inputs, inputs.detach().flatten(1).amin(1))
        high = _bound(self.high, inputs, inputs.detach().flatten(1).amax(1))
        above, below = _Bounded.apply(inputs, low, high)
        return [(above, weight.clamp(min=0)), (below, weight.clamp(max=0))]

    def _create_backward_hook_input(self, inputs: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda gradient: gradient  # the relevance already


def _bound(bound: Bound, inputs: Tensor, measured: Tensor) -> Tensor:
    if bound is None:
        bound = measured.reshape(-1, *[1] * (inputs.ndim - 1))
    bound = torch.as_tensor(bound, dtype=inputs.dtype, device=inputs.device)
    if bound.ndim == 1:
        bound = bound.reshape(1, -1, *[1] * (inputs.ndim - 2))
    try:
        return bound.expand_as(inputs)
    except RuntimeError as error:
        raise CAMError(
            f"a bound of the pixels must broadcast to the input {shape_of(inputs)}, "
            f"got {shape_of(bound)}; pass a number, or one value per channel"
        ) from error


def _without_bias(module: nn.Module) -> Linear:
    def linear(inputs: Tensor, weight: Tensor) -> Tensor:
        bare = copy(module)  # its forward alone runs: no hooks, and the user's parameters stay where they are
        bare._parameters = {"weight": weight, "bias": None}  # type: ignore[dict-item]
        return bare.forward(inputs)

    return linear


class _Bounded(torch.autograd.Function):
    """x − l and x − h, exactly zero at the bounds; backward turns their gradients into the relevance of x."""

    @staticmethod
    def forward(ctx: FunctionCtx, inputs: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(inputs - low, inputs - high)
        return inputs - low, inputs - high

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        pairs = zip(ctx.saved_tensors, gradients, strict=True)
        return sum(tensor * gradient for tensor, gradient in pairs), None, None


class Passed(torch.autograd.Function):
    """The output of an operation, whose relevance (not over activation) goes on to the input as it is."""

    @staticmethod
    def forward(ctx: FunctionCtx, inputs: Tensor, output: list[Tensor]) -> Tensor:
        return output[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor, None]:
        return relevance, None


class Carried(torch.autograd.Function):
    """The output of an operation, whose relevance goes on to ``z``, divided by it or by another ``divisor``.

    What travels backward is relevance over activation: additions, concatenation and reshaping are then autograd's
    own. ``output`` comes in a list, since a tensor that is handed through could not be changed in place.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, z: Tensor, output: list[Tensor], divisor: Tensor | None = None) -> Tensor:
        # 0 where z = 0: one pass in place, a third of the time of a comparison and a choice.
        ctx.save_for_backward((output[0] / (z if divisor is None else divisor)).nan_to_num_(0, 0, 0))
        return output[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, ratio: Tensor) -> tuple[Tensor, None, None]:
        (factor,) = ctx.saved_tensors
        return ratio * factor, None, None
