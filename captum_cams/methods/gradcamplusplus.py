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
    """Shows all the places where features of the class lie, also if the image holds several objects.

    Chattopadhay et al. 2018, eq. 5 and 19: each positive gradient has a coefficient of its own,
    w_k = Σ_ij α_k ReLU(G_k) with α_k = G_k² / (2 G_k² + G_k³ Σ_ab A_k), and 0 if the denominator is 0. The factor
    exp(y_c) of the paper is the same for all channels and is left out.

    Raises:
        CAMError: in a call, if no gradient of the score reaches the layer.

    Example::

        cam = cc.GradCAMPlusPlus(model, "layer4")
        maps = cam.attribute(images, labels)
    """

    title = "Grad-CAM++"
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
    differentiable = True

    def weights(self, seen: Seen) -> Tensor:
        gradient = seen.gradient
        # The fraction is reduced by G², which keeps tiny gradients from underflow; if G = 0, the product is 0 as well.
        total = seen.activation.sum(tuple(range(2, gradient.ndim)), keepdim=True)
        denominator = 2 + gradient * total
        alpha = torch.where(denominator == 0, 0, 1 / denominator.where(denominator != 0, 1))
        return (alpha * gradient.relu()).flatten(2).sum(2)
