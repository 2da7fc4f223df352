"""Grad-CAM."""

from torch import Tensor

from captum_cams.bases.spatial import WeightedCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class GradCAM(WeightedCAM):
    """Weigh each channel by its mean gradient.

    Selvaraju et al. 2017, eq. 1 and 2: w_k = ⟨∂y_c/∂A_k⟩, map = ReLU(Σ_k w_k A_k).
    """

    paper = Paper(
        "Selvaraju et al.",
        "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
        "ICCV",
        2017,
        "https://arxiv.org/abs/1610.02391",
    )
    cost = Cost(gradients=1)
    needs_gradient = True
    any_dimension = True

    def weights(self, seen: Seen) -> Tensor:
        return seen.gradient.flatten(2).mean(2)
