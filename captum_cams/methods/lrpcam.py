"""LRP-CAM."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.attribution import WeightedCAM
from captum_cams.engine.capture import Seen
from captum_cams.engine.targets import score_of
from captum_cams.errors import CAMError
from captum_cams.registry import register


@register
class LRPCAM(WeightedCAM):
    """Weigh each channel by its relevance for the score under the ε-rule.

    Jung and Oh, "Towards Better Explanations of Class Activation Mapping", ICCV 2021, section 4, with the ε-rule of
    Bach et al., PLoS ONE 2015, eq. 58: R_i = Σ_j x_i w_ij R_j / (z_j + ε sign z_j); w_k = Σ_ij R_k at the layer.

    Args:
        epsilon: ε, absolute; against it z_j is the output of a convolution or Linear.
        **options: see :class:`CAMAttribution`.

    Raises:
        CAMError: ε is negative.
    """

    cost = "1 + 3 behind the layer"
    needs_resume = True
    any_dimension = True

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        epsilon: float = 1e-6,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        if epsilon < 0:
            raise CAMError(f"epsilon must not be negative, got {epsilon}")
        self.epsilon = epsilon

    def weights(self, seen: Seen) -> Tensor:
        return torch.stack([self._relevance(seen, sample) for sample in range(len(seen.activation))])

    def _relevance(self, seen: Seen, sample: int) -> Tensor:
        # R / activation is carried back: for ReLU, pooling and additions that is the gradient itself, and for linear
        # maps the gradient times z / (z + ε sign z).
        behind = seen.resume.behind(sample)
        activation = seen.activation[sample : sample + 1].clone().requires_grad_()
        with ExitStack() as stack, torch.enable_grad():
            for module in behind.modules():
                if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
                    stack.callback(module.register_forward_hook(self._stabilise).remove)
            score = score_of(behind(activation), seen.target[sample])
            (ratio,) = torch.autograd.grad(score.sum(), activation)
        return (ratio * activation).detach()[0].flatten(1).sum(1)

    def _stabilise(self, module: nn.Module, args: Any, output: Tensor) -> None:
        if output.requires_grad:
            z = output.detach().clone()
            factor = (z / (z + self.epsilon * z.sign())).where(z != 0, 0)
            output.register_hook(lambda gradient: gradient * factor)
