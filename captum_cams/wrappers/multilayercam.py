"""Fusion of the maps of several layers."""

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor, nn

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.layered import LayeredCAM, scaled
from captum_cams.bases.wrapped import WrappedCAM
from captum_cams.cost import Cost, named
from captum_cams.engine.call import Call
from captum_cams.errors import check_choice
from captum_cams.paper import Paper
from captum_cams.registry import register

Fusion = Literal["max", "mean", "product"]
FUSED: dict[Fusion, Callable[[Tensor], Tensor]] = {
    "max": lambda maps: maps.amax(0),
    "mean": lambda maps: maps.mean(0),
    "product": lambda maps: maps.prod(0),
}


@register
class MultiLayerCAM(LayeredCAM, WrappedCAM):
    """Shows what the base finds in several layers, in one map.

    Jiang et al. 2021, section III-C, without its scaling by tanh: map = max_l up(norm(M_l)), or the mean over l. The
    map lies in [0, 1] and is as large as the largest M_l.

    The product, Π_l up(norm(M_l)), is Refine-CAM (arXiv 2605.14641): it shows what every layer shows, with the detail
    of the first. Its own base is Grad-CAM++: pass ``base="gradcamplusplus"``. It is zero if one M_l is constant.

    Args:
        base: the method that explains each layer.
        layers: modules or names; None takes the last layer of each size of map in the network, at most three.
        fusion: "max", "mean" or "product".
        **options: see :class:`WrappedCAM`.

    Raises:
        CAMError: ``layers`` is empty or not a list, a layer is not found, or ``fusion`` is not one of its choices.

    Example::

        cam = cc.MultiLayerCAM(model, layers=["layer2", "layer4"])
        maps = cam.attribute(images, labels)  # as large as the map of layer2, in [0, 1]
    """

    title = "Multi-layer {base}"
    paper = Paper(
        "Jiang et al.",
        "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization",
        "IEEE TIP",
        2021,
        "https://doi.org/10.1109/TIP.2021.3089943",
    )
    cost = Cost(0, bases=named("layers"))
    sizes = 3

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        base: str | CAMAttribution = "layercam",
        fusion: Fusion = "max",
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, base=base, **options)
        check_choice("fusion", fusion, Fusion)
        self.fusion = fusion

    def map_at(self, call: Call, layer: nn.Module) -> Tensor:
        first = self.base.layer
        try:  # no other thread sees the base with a changed layer, as explanations of one model wait for each other
            self.base.layer = layer
            return self.base.map_of(call)
        finally:
            self.base.layer = first

    def combine(self, maps: list[Tensor]) -> Tensor:
        return FUSED[self.fusion](scaled(maps))
