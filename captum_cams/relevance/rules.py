"""Rules that share the relevance of a linear layer's output among its inputs, for this engine and for Captum's LRP.

The only file with private names of Captum, whose rules have no public path.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from captum.attr._utils.lrp_rules import PropagationRule
from torch import Tensor, nn

from captum_cams.engine.torch_internals import with_parameters
from captum_cams.errors import CAMError, shape_of
from captum_cams.relevance.sharing import Kept, Taken

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

    signed = False
    """Whether negative values take part in sums and poolings."""

    def terms(self, inputs: Tensor, weight: Tensor, live: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        """Pairs of strengths and weights; the linear map of each pair, added up, is z.

        Args:
            inputs: of the layer.
            weight: of the layer.
            live: False where an input is a constant, which takes no part; None is True everywhere.
        """
        if live is not None:
            inputs = inputs.where(live, 0)
        positive = weight.clamp(min=0)
        if inputs.detach().min() >= 0:
            return [(inputs, positive)]
        return [(inputs.clamp(min=0), positive), (inputs.clamp(max=0), weight.clamp(max=0))]

    def divisor(self, output: Tensor) -> Tensor | None:
        """What relevance is divided by, of the output's shape; None is the sum of the terms."""
        return None

    def denominator(self, inputs: Tensor, weight: Tensor, linear: Linear) -> Tensor:
        """z, whose gradient times the input is the share of each input."""
        return total(linear, self.terms(inputs, weight.detach()))

    def forward_hook(self, module: nn.Module, inputs: Any, outputs: Tensor) -> Tensor:
        """Captum's hook on the second run, whose output is z in the place of the module's own."""
        weight = dict(module.named_parameters(recurse=False)).get("weight")
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

    signed = True

    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon

    def terms(self, inputs: Tensor, weight: Tensor, live: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        """As in :class:`ZPlusRule`."""
        return [(inputs if live is None else inputs.where(live, 0), weight)]

    def divisor(self, output: Tensor) -> Tensor:
        """What relevance is divided by, of the output's shape."""
        return output + self.epsilon * output.sign()


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

    def terms(self, inputs: Tensor, weight: Tensor, live: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        seen = inputs.detach()
        least, most = (seen, seen) if live is None else (seen.where(live, torch.inf), seen.where(live, -torch.inf))
        low = _bound(self.low, inputs, least.flatten(1).amin(1))
        high = _bound(self.high, inputs, most.flatten(1).amax(1))
        above, below = inputs - low, inputs - high  # x w − l w⁺ − h w⁻ without a difference of large sums
        if live is not None:
            above, below = above.where(live, 0), below.where(live, 0)
        return [(above, weight.clamp(min=0)), (below, weight.clamp(max=0))]

    def denominator(self, inputs: Tensor, weight: Tensor, linear: Linear) -> Tensor:
        """z, whose gradient is the share of each input."""
        strengths, weights = zip(*self.terms(inputs.detach(), weight.detach()), strict=True)
        taken = Taken.apply(inputs, Kept(strengths))
        return total(linear, list(zip(taken, weights, strict=True)))

    def _create_backward_hook_input(self, inputs: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda gradient: gradient  # the relevance already


def total(linear: Linear, terms: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """The linear map of each pair of strength and weight, added up."""
    parts = [linear(strength, weight) for strength, weight in terms]
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


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
        # The forward alone runs: no hooks, and the user's parameters stay where they are.
        return with_parameters(module, {"weight": weight, "bias": None}).forward(inputs)

    return linear
