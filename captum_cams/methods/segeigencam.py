"""Seg-Eigen-CAM."""

from torch import Tensor

from captum_cams.bases.principal import PrincipalCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.engine.magnitude import product
from captum_cams.engine.sign import extremes
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class SegEigenCAM(PrincipalCAM):
    """Shows the strongest pattern in the activations where the score is sensitive, made for segmentation.

    Chung and Ying 2025, eq. 10 to 13: F = abs(G) ∘ A as a matrix with h·w rows and K columns, centred, and
    map = ReLU((F − ⟨F⟩) v_1) with its first principal component v_1. The larger extreme of the map is positive.

    Raises:
        CAMError: in a call, if no gradient of the score reaches the layer; with ``differentiable``, if the first
            principal component of an image is not unique.

    Example::

        cam = cc.SegEigenCAM(model, "layer4")
        maps = cam.attribute(images, labels)
    """

    title = "Seg-Eigen-CAM"
    paper = Paper(
        "Chung and Ying",
        "Seg-Eigen-CAM: Eigen-Value-Based Visual Explanations for Semantic Segmentation Models",
        "Applied Sciences",
        2025,
        "https://doi.org/10.3390/app15137562",
    )
    cost = Cost(gradients=1)
    needs_gradient = True

    def features(self, seen: Seen) -> Tensor:
        return product(seen.gradient.abs(), seen.activation)

    def signs(self, maps: Tensor, rows: Tensor) -> Tensor:
        sign = extremes(maps).sign()
        return sign.where(sign != 0, 1)
