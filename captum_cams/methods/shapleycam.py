"""Shapley-CAM."""

from torch import Tensor

from captum_cams.bases.spatial import WeightedCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class ShapleyCAM(WeightedCAM):
    """Shows the features that raise the class score, with a second-order estimate of their Shapley values.

    Cai 2025, section 4: the weight of each channel is w_k = ⟨G_k − ½ (H A)_k⟩, where H is the Hessian of the score with
    respect to A and H A its product with the activation, and map = ReLU(Σ_k w_k A_k). If the network behind the layer
    is piecewise linear, as with ReLUs, H A = 0 and the map is that of Grad-CAM.

    Raises:
        CAMError: in a call, if no gradient of the score reaches the layer, or if an operation behind the layer has no
            second derivative.

    Example::

        cam = cc.ShapleyCAM(model, "layer4")
        maps = cam.attribute(images, labels)
    """

    title = "ShapleyCAM"
    paper = Paper(
        "Cai",
        "CAMs as Shapley Value-based Explainers",
        "The Visual Computer",
        2025,
        "https://arxiv.org/abs/2501.06261",
    )
    cost = Cost(gradients=2)
    needs_gradient = True
    needs_curvature = True
    any_dimension = True

    def weights(self, seen: Seen) -> Tensor:
        return (seen.gradient - seen.curvature / 2).flatten(2).mean(2)
