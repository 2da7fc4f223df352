"""HiResCAM."""

from torch import Tensor

from captum_cams.bases.spatial import SpatialCAM
from captum_cams.engine.capture import Seen
from captum_cams.engine.magnitude import product
from captum_cams.registry import register


@register
class HiResCAM(SpatialCAM):
    """Multiply gradient and activation position by position, without averaging.

    Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
    networks", 2020 (arXiv:2011.08891), eq. 5: map = ReLU(Σ_k G_k ∘ A_k).
    """

    cost = "1 + gradient"
    needs_gradient = True
    any_dimension = True

    def maps(self, seen: Seen) -> Tensor:
        return product(seen.gradient, seen.activation)
