"""HiResCAM."""

from torch import Tensor

from captum_cams.bases.spatial import SpatialCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.engine.magnitude import product
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class HiResCAM(SpatialCAM):
    """Multiply gradient and activation position by position, without averaging.

    Draelos and Carin 2020, eq. 5: map = ReLU(Σ_k G_k ∘ A_k).
    """

    paper = Paper(
        "Draelos and Carin",
        "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks",
        "arXiv",
        2020,
        "https://arxiv.org/abs/2011.08891",
    )
    cost = Cost(gradients=1)
    needs_gradient = True
    any_dimension = True

    def maps(self, seen: Seen) -> Tensor:
        return product(seen.gradient, seen.activation)
