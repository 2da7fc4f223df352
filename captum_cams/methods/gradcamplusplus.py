"""Grad-CAM++."""

import torch
from torch import Tensor

from captum_cams.bases.spatial import WeightedCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class GradCAMPlusPlus(WeightedCAM):
    """Weigh each channel by its positive gradients, each with a coefficient from higher derivatives.

    Chattopadhay et al. 2018, eq. 5 and 19: w_k = Σ_ij α_k ReLU(G_k) with α_k = G_k² / (2 G_k² + G_k³ Σ_ab A_k), 0 where
    the denominator is 0. The paper's factor exp(y_c) is the same for all channels and left out.
    """

    paper = Paper(
        "Chattopadhay et al.",
        "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional Networks",
        "WACV",
        2018,
        "https://arxiv.org/abs/1710.11063",
    )
    cost = Cost(gradients=1)
    needs_gradient = True
    any_dimension = True

    def weights(self, seen: Seen) -> Tensor:
        gradient = seen.gradient
        # Divided by G², which keeps tiny gradients from underflowing; where G = 0 the product with ReLU(G) is 0.
        total = seen.activation.sum(tuple(range(2, gradient.ndim)), keepdim=True)
        denominator = 2 + gradient * total
        alpha = torch.where(denominator == 0, 0, 1 / denominator.where(denominator != 0, 1))
        return (alpha * gradient.relu()).flatten(2).sum(2)
