"""Eigen-Grad-CAM."""

from torch import Tensor

from captum_cams.bases.principal import PrincipalCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.engine.magnitude import product
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class EigenGradCAM(PrincipalCAM):
    """Shows the strongest pattern in gradient times activation, for a class.

    Gildenblat et al. 2021: Eigen-CAM of F = G ∘ A instead of A, that is map = ReLU((F − ⟨F⟩) v_1), where v_1 is
    the first principal component of F with h·w rows and K columns. The map correlates positively with the mean of F
    over the channels; the sign is arbitrary in pytorch-grad-cam.

    Raises:
        CAMError: in a call, if no gradient of the score reaches the layer; with ``differentiable``, if the first
            principal component of an image is not unique.

    Example::

        cam = cc.EigenGradCAM(model, "layer4")
        maps = cam.attribute(images, labels)
    """

    title = "Eigen-Grad-CAM"
    paper = Paper(
        "Gildenblat et al.",
        "PyTorch library for CAM methods",
        "GitHub",
        2021,
        "https://github.com/jacobgil/pytorch-grad-cam",
    )
    cost = Cost(gradients=1)
    needs_gradient = True

    def features(self, seen: Seen) -> Tensor:
        return product(seen.gradient, seen.activation)
