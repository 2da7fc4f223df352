"""LRP-CAM."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.bases.spatial import WeightedCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.errors import CAMError
from captum_cams.paper import Paper
from captum_cams.registry import register
from captum_cams.relevance.propagation import epsilon_relevance


@register
class LRPCAM(WeightedCAM):
    """Weigh each channel by its relevance for the score under the ε-rule.

    Jung and Oh 2021, section 4, with the ε-rule of Bach et al., PLoS ONE 2015, eq. 58: R_i = Σ_j x_i w_ij R_j / (z_j +
    ε sign z_j); w_k = Σ_ij R_k at the layer. BatchNorm is part of the convolution before it, or a linear layer of its
    own where there is none; a constant that is added keeps its part, as a bias does. Other operations pass relevance as
    in :class:`Propagation`.

    Args:
        epsilon: ε, absolute; against it z_j is the output of a convolution or Linear.
        **options: see :class:`CAMAttribution`.

    Raises:
        CAMError: ε is negative; in use, if an operation behind the layer has no rule.
    """

    paper = Paper(
        "Jung and Oh",
        "Towards Better Explanations of Class Activation Mapping",
        "ICCV",
        2021,
        "https://arxiv.org/abs/2102.05228",
    )
    cost = Cost(behind=3, gradients=1)
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
        behind, activation = seen.resume.behind(sample), seen.activation[sample : sample + 1]

        def score(values: Tensor) -> Tensor:
            return seen.call.score_of(behind(values), sample)

        return epsilon_relevance(seen.call, score, activation, self.epsilon)[0].flatten(1).sum(1)
