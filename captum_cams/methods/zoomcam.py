"""Zoom-CAM."""

from torch import Tensor, nn

from captum_cams.bases.layered import LayeredCAM, scaled
from captum_cams.bases.spatial import SpatialCAM
from captum_cams.cost import Cost, named
from captum_cams.engine.call import Call
from captum_cams.engine.capture import Seen, capture
from captum_cams.engine.layers import Place
from captum_cams.engine.magnitude import product
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class ZoomCAM(LayeredCAM, SpatialCAM):
    """Shows the positions that raise the class score in any of several layers, with the detail of the earliest.

    Shi et al. 2020: each layer l has a map M_l = norm(ReLU(Σ_k G_k ∘ A_k)), where norm scales to [0, 1], and
    map = max_l up(M_l). The paper takes all 13 convolutions of VGG-16; here, ``layers=None`` takes the last layer of
    each size of map. The map is as large as the largest M_l.

    Args:
        layers: modules or names; None takes the last layer of each size of map in the network, at most five.
        **options: see :class:`CAMAttribution`.

    Raises:
        CAMError: ``layers`` is empty or not a list, or a layer is not found; in a call, if no gradient of the score
            reaches a layer.

    Example::

        cam = cc.ZoomCAM(model, layers=["layer2", "layer4"])
        maps = cam.attribute(images, labels)  # as large as the map of layer2, in [0, 1]
    """

    title = "Zoom-CAM"
    paper = Paper(
        "Shi et al.",
        "Zoom-CAM: Generating Fine-grained Pixel Annotations from Image Labels",
        "ICPR",
        2020,
        "https://arxiv.org/abs/2010.08644",
    )
    cost = Cost(named("layers"), gradients=named("layers"))
    needs_gradient = True
    per_channel = False
    any_dimension = True
    differentiable = True

    def maps(self, seen: Seen) -> Tensor:
        return product(seen.gradient, seen.activation)

    def map_at(self, call: Call, layer: nn.Module) -> Tensor:
        seen = capture(call, Place(layer, call.at_input, self.layout), self.needs)
        return self.components(seen).sum(1, keepdim=True).relu()

    def combine(self, maps: list[Tensor]) -> Tensor:
        return scaled(maps).amax(0)
