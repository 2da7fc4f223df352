"""Layer-CAM."""

from torch import Tensor

from captum_cams.bases.spatial import SpatialCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.engine.magnitude import product
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class LayerCAM(SpatialCAM):
    """Shows the positions where features raise the class score, also in shallow layers.

    Jiang et al. 2021, eq. 5 to 7: the positive gradient weighs each position of each channel,
    map = ReLU(Σ_k ReLU(G_k) ∘ A_k).

    Raises:
        CAMError: in a call, if no gradient of the score reaches the layer.

    Example::

        cam = cc.LayerCAM(model, "layer2")
        maps = cam.attribute(images, labels)
    """

    title = "LayerCAM"
    paper = Paper(
        "Jiang et al.",
        "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization",
        "IEEE TIP",
        2021,
        "https://doi.org/10.1109/TIP.2021.3089943",
    )
    cost = Cost(gradients=1)
    needs_gradient = True
    any_dimension = True
    differentiable = True

    def maps(self, seen: Seen) -> Tensor:
        return product(seen.gradient.relu(), seen.activation)
