"""Grad-CAM."""

from torch import Tensor

from captum_cams.bases.spatial import WeightedCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class GradCAM(WeightedCAM):
    """Shows the features that raise the class score.

    Selvaraju et al. 2017, eq. 1 and 2: the weight of each channel is its mean gradient, w_k = ⟨∂y_c/∂A_k⟩, and
    map = ReLU(Σ_k w_k A_k).

    Raises:
        CAMError: in a call, if no gradient of the score reaches the layer.

    Example::

        cam = cc.GradCAM(model, "layer4")
        maps = cam.attribute(images, labels)  # 2×1×h×w, not negative
        signed = cam.attribute(images, labels, relu_attributions=False)
    """

    title = "Grad-CAM"
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
    differentiable = True

    def weights(self, seen: Seen) -> Tensor:
        return seen.gradient.flatten(2).mean(2)
