"""Rules that distribute the relevance of a layer's output to its inputs, for this package and for Captum's LRP.

This is the only file with private names of Captum, whose rules have no public import path.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from captum.attr._utils.lrp_rules import PropagationRule
from torch import Tensor, nn

from captum_cams.engine.torch_internals import with_parameters
from captum_cams.errors import CAMError, shape_of
from captum_cams.relevance.sharing import Reading, Taken

Linear = Callable[[Tensor, Tensor], Tensor]
"""Takes input and weight of a linear operation and returns its output without bias."""
Bound = float | Tensor | None


class ZPlusRule(PropagationRule):
    """Distributes relevance in proportion to the positive contributions: z⁺, or αβ with α = 1 and β = 0.

    Montavon et al., "Explaining NonLinear Classification Decisions with Deep Taylor Decomposition", Pattern
    Recognition 2017, eq. 19, for inputs of either sign: R_i = Σ_j (x_i⁺ w_ij⁺ + x_i⁻ w_ij⁻) R_j / z_j with
    z_j = Σ_i x_i⁺ w_ij⁺ + x_i⁻ w_ij⁻, and 0 if z_j = 0. The bias gets no relevance.

    To use the rule in ``captum.attr.LRP`` and ``LayerLRP``, set ``module.rule = ZPlusRule()`` on a convolution or
    linear layer.

    Example::

        from captum.attr import LRP

        network = torch.nn.Sequential(torch.nn.Linear(12, 3))
        network[0].rule = cc.ZPlusRule()
        print(LRP(network).attribute(torch.rand(2, 12), target=0).shape)
    """

    signed = False
    """Whether negative values get relevance in sums and poolings."""

    def terms(self, inputs: Tensor, weight: Tensor, live: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        """Split z into terms.

        Args:
            inputs: the inputs of the layer.
            weight: the weight of the layer.
            live: False for each input that is a constant and gets no relevance; None means True everywhere.

        Returns:
            Pairs of strengths (with the shape of the inputs) and weights (with the shape of the weight). z is the sum
            of the layer's linear operation over all pairs.
        """
        if live is not None:
            inputs = inputs.where(live, 0)
        positive = weight.clamp(min=0)
        if inputs.detach().min() >= 0:
            return [(inputs, positive)]
        return [(inputs.clamp(min=0), positive), (inputs.clamp(max=0), weight.clamp(max=0))]

    def divisor(self, output: Tensor) -> Tensor | None:
        """Return what relevance is divided by, with the shape of the output; None means the sum of the terms."""
        return None

    def denominator(self, inputs: Tensor, weight: Tensor, linear: Linear) -> Tensor:
        """Compute z for Captum, which multiplies the gradient of z by the input."""
        return total(linear, self.terms(inputs, weight.detach()))

    def forward_hook(self, module: nn.Module, inputs: Any, outputs: Tensor) -> Tensor:
        """Return z instead of the module's output, in Captum's second run.

        Raises:
            CAMError: if the module is not a convolution or linear layer.
        """
        weight = dict(module.named_parameters(recurse=False)).get("weight")
        if weight is None or weight.ndim < 2:
            raise CAMError(
                f"{type(self).__name__} must be the rule of a convolution or linear layer, got "
                f"{type(module).__name__}; set one of Captum's rules on this module"
            )
        return super().forward_hook(module, inputs, self.denominator(inputs[0], weight, _without_bias(module)))

    def _manipulate_weights(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        """Do nothing, because the terms are made from copies."""


class EpsilonRule:
    """Distributes relevance in proportion to all contributions. ε and the bias absorb their share.

    Bach et al., "On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation",
    PLoS ONE 2015, eq. 58: R_i = Σ_j x_i w_ij R_j / (z_j + ε sign z_j), where z_j is the output of the layer.

    Args:
        epsilon: ε, in the units of the layer's output.
    """

    signed = True
    """As in :class:`ZPlusRule`."""

    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon

    def terms(self, inputs: Tensor, weight: Tensor, live: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        """Return one pair of strengths and weights, see :meth:`ZPlusRule.terms`."""
        return [(inputs if live is None else inputs.where(live, 0), weight)]

    def divisor(self, output: Tensor) -> Tensor:
        """Return what relevance is divided by, with the shape of the output."""
        return output + self.epsilon * output.sign()


class ZBetaRule(ZPlusRule):
    """Distributes relevance to pixels, whose values have bounds: zβ (called ZBox in zennit).

    Montavon et al. 2017, eq. 20: R_i = Σ_j (x_i w_ij − l_i w_ij⁺ − h_i w_ij⁻) R_j / z_j where z_j is the sum
    of these terms over i, and 0 if z_j = 0.

    Args:
        low: the lower bound l: a number, one value per channel, or a tensor that broadcasts to the input. None means
            the minimum of each sample, as in Qiu et al.'s code for FG-CAM.
        high: the upper bound h, in the same forms. None means the maximum of each sample.

    Example::

        from captum.attr import LRP

        network = torch.nn.Sequential(torch.nn.Linear(12, 3))
        network[0].rule = cc.ZBetaRule(0.0, 1.0)
        print(LRP(network).attribute(torch.rand(2, 12), target=0).sum(1))
    """

    def __init__(self, low: Bound = None, high: Bound = None) -> None:
        self.low, self.high = low, high

    def terms(self, inputs: Tensor, weight: Tensor, live: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        """Return two pairs of strengths and weights, see :meth:`ZPlusRule.terms`."""
        x = inputs.detach()
        least, most = (x, x) if live is None else (x.where(live, torch.inf), x.where(live, -torch.inf))
        low = _bound(self.low, inputs, least.flatten(1).amin(1))
        high = _bound(self.high, inputs, most.flatten(1).amax(1))
        above, below = inputs - low, inputs - high  # x w − l w⁺ − h w⁻ without subtracting large sums
        if live is not None:
            above, below = above.where(live, 0), below.where(live, 0)
        return [(above, weight.clamp(min=0)), (below, weight.clamp(max=0))]

    def denominator(self, inputs: Tensor, weight: Tensor, linear: Linear) -> Tensor:
        """Compute z for Captum, so that its gradient is the share of each input."""
        strengths, weights = zip(*self.terms(inputs.detach(), weight.detach()), strict=True)
        taken = Taken.apply(inputs, Reading(strengths))
        return total(linear, list(zip(taken, weights, strict=True)))

    def _create_backward_hook_input(self, inputs: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda gradient: gradient  # which already is the relevance


def total(linear: Linear, terms: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Apply the linear operation to each pair of strength and weight, and add up the results."""
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
            f"got {shape_of(bound)}; pass a number or one value per channel"
        ) from error


def _without_bias(module: nn.Module) -> Linear:
    def linear(inputs: Tensor, weight: Tensor) -> Tensor:
        # Call forward directly: no hooks run, and the user's parameters do not change.
        return with_parameters(module, {"weight": weight, "bias": None}).forward(inputs)

    return linear
