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
    """Shows the features to which the class score is traced back.

    Jung and Oh 2021, section 4, with the ε-rule of Bach et al., PLoS ONE 2015, eq. 58: R_i = Σ_j x_i w_ij R_j / (z_j +
    ε sign z_j), and w_k = Σ_ij R_k at the layer. BatchNorm is folded into the convolution before it, or is a linear
    layer of its own if there is none. A constant that is added keeps its share, as a bias does. Relevance passes other
    operations as :class:`Propagation` says.

    Args:
        epsilon: ε, not negative, in the unit of z_j, an output of a convolution or a linear layer.
        **options: see :class:`CAMAttribution`.

    Raises:
        CAMError: ``epsilon`` is negative; in a call, if ``epsilon`` is larger than the score, an operation after the
            layer has no rule for relevance, or ``reshape`` has no inverse (see :class:`Layout`).

    Example::

        cam = cc.LRPCAM(model, "layer4", epsilon=1e-4)
        maps = cam.attribute(images, labels)
    """

    title = "LRP-CAM"
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
            raise CAMError(f"epsilon must not be negative, got {epsilon}; the default is 1e-6")
        self.epsilon = epsilon

    def weights(self, seen: Seen) -> Tensor:
        return torch.stack([self._relevance(seen, sample) for sample in range(len(seen.activation))])

    def _relevance(self, seen: Seen, sample: int) -> Tensor:
        rest, activation = seen.resume.tail(sample), seen.activation[sample : sample + 1]

        def score(values: Tensor) -> Tensor:
            return seen.call.score_of(rest(values), sample)

        return epsilon_relevance(seen.call, score, activation, self.epsilon)[0].flatten(1).sum(1)
