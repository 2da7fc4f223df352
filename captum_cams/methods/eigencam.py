"""Eigen-CAM."""

from torch import Tensor

from captum_cams.bases.principal import PrincipalCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class EigenCAM(PrincipalCAM):
    """Shows the strongest pattern in the activations, which is the same for every class.

    Muhammad and Yeasin 2020, eq. 2 and 3: A as a matrix with h·w rows and K columns, A = U Σ Vᵀ, map = A v_1, followed
    by ReLU. The columns are centred first, as in pytorch-grad-cam, so v_1 is the first principal component. A singular
    vector has no sign of its own; here the map correlates positively with the mean activation. Behind a LayerNorm this
    mean may be 0 at all positions; then the larger extreme of the map is positive, as in Seg-Eigen-CAM (Chung and Ying,
    Applied Sciences 2025).

    Raises:
        CAMError: in a call with ``differentiable``, if the first principal component of an image is not unique.

    Example::

        cam = cc.EigenCAM(model, "layer4")
        maps = cam.attribute(images)  # needs no target
    """

    title = "Eigen-CAM"
    paper = Paper(
        "Muhammad and Yeasin",
        "Eigen-CAM: Class Activation Map using Principal Components",
        "IJCNN",
        2020,
        "https://arxiv.org/abs/2008.00299",
    )
    cost = Cost()

    def features(self, seen: Seen) -> Tensor:
        return seen.activation
