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
    """Shows the positions that raise the class score, judged by their own gradients.

    Draelos and Carin 2020, eq. 5: gradient and activation are multiplied position by position,
    map = ReLU(Σ_k G_k ∘ A_k); Grad-CAM averages the gradient first.

    Raises:
        CAMError: in a call, if no gradient of the score reaches the layer.

    Example::

        cam = cc.HiResCAM(model, "layer4")
        maps = cam.attribute(images, labels)
    """

    title = "HiResCAM"
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
    differentiable = True

    def maps(self, seen: Seen) -> Tensor:
        return product(seen.gradient, seen.activation)
