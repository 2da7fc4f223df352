"""XGrad-CAM."""

from torch import Tensor

from captum_cams.bases.spatial import WeightedCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class XGradCAM(WeightedCAM):
    """Shows the features that raise the class score at the positions where they are active.

    Fu et al. 2020, eq. 8: the weight of a channel is its gradient, averaged in proportion to the activation,
    w_k = Σ_ij A_k G_k / Σ_ij A_k, and 0 if the activations add up to 0.

    Raises:
        CAMError: in a call, if no gradient of the score reaches the layer.

    Example::

        cam = cc.XGradCAM(model, "layer4")
        maps = cam.attribute(images, labels)
    """

    title = "XGrad-CAM"
    paper = Paper(
        "Fu et al.",
        "Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs",
        "BMVC",
        2020,
        "https://arxiv.org/abs/2008.02312",
    )
    cost = Cost(gradients=1)
    needs_gradient = True
    any_dimension = True
    differentiable = True

    def weights(self, seen: Seen) -> Tensor:
        total = seen.activation.flatten(2).sum(2)
        product = (seen.activation * seen.gradient).flatten(2).sum(2)
        return (product / total.where(total != 0, 1)).where(total != 0, 0)
