"""Element-wise Grad-CAM."""

from torch import Tensor

from captum_cams.bases.spatial import SpatialCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.engine.magnitude import product
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class GradCAMElementWise(SpatialCAM):
    """Shows where single channels raise the class score, without what other channels take away.

    Gildenblat et al. 2021: map = Σ_k ReLU(G_k ∘ A_k). HiResCAM rectifies after the sum over the channels.

    Raises:
        CAMError: in a call, if no gradient of the score reaches the layer.

    Example::

        cam = cc.GradCAMElementWise(model, "layer4")
        maps = cam.attribute(images, labels)
    """

    title = "Element-wise Grad-CAM"
    paper = Paper(
        "Gildenblat et al.",
        "PyTorch library for CAM methods",
        "GitHub",
        2021,
        "https://github.com/jacobgil/pytorch-grad-cam",
    )
    cost = Cost(gradients=1)
    needs_gradient = True
    any_dimension = True
    differentiable = True

    def maps(self, seen: Seen) -> Tensor:
        return product(seen.gradient, seen.activation).relu()
