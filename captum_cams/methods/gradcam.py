"""Grad-CAM."""

from torch import Tensor

from captum_cams.bases.spatial import WeightedCAM
from captum_cams.engine.capture import Seen
from captum_cams.registry import register


@register
class GradCAM(WeightedCAM):
    """Weigh each channel by its mean gradient.

    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
    ICCV 2017, eq. 1 and 2: w_k = ⟨∂y_c/∂A_k⟩, map = ReLU(Σ_k w_k A_k).
    """

    cost = "1 + gradient"
    needs_gradient = True
    any_dimension = True

    def weights(self, seen: Seen) -> Tensor:
        return seen.gradient.flatten(2).mean(2)
