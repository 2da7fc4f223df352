"""Fusion of the maps of several layers."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.wrapped import WrappedCAM
from captum_cams.cost import Cost, named
from captum_cams.engine.call import Call
from captum_cams.engine.layers import named_layer
from captum_cams.engine.search import find_layers
from captum_cams.errors import CAMError, brief, check_choice
from captum_cams.images import minmax, upsample
from captum_cams.paper import Paper
from captum_cams.registry import register

Fusion = Literal["max", "mean", "product"]
FUSED: dict[Fusion, Callable[[Tensor], Tensor]] = {
    "max": lambda maps: maps.amax(0),
    "mean": lambda maps: maps.mean(0),
    "product": lambda maps: maps.prod(0),
}


@register
class MultiLayerCAM(WrappedCAM):
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

    paper = Paper(
        "Jiang et al.",
        "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization",
        "IEEE TIP",
        2021,
        "https://doi.org/10.1109/TIP.2021.3089943",
    )
    cost = Cost(0, bases=named("layers"))

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        base: str | CAMAttribution = "layercam",
        layers: Sequence[nn.Module | str] | None = None,
        fusion: Fusion = "max",
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, base=base, **options)
        check_choice("fusion", fusion, Fusion)
        if isinstance(layers, str | nn.Module):
            raise CAMError(f"layers must be a list of modules or names, got {brief(layers)}; put it in a list")
        if layers is not None and not layers:
            raise CAMError("layers must name at least one layer, got none; layers=None finds some")
        chosen = [self.layer] if layers is None and self.layer is not None else layers
        self.layers = None if chosen is None else [named_layer(forward_func, layer_) for layer_ in chosen]
        self.fusion = fusion
        self.found_layers: list[nn.Module] | None = None

    def find(self, call: Call) -> None:
        if self.layers is None and self.found_layers is None:
            if self.reshape is not None:
                raise CAMError("MultiLayerCAM with reshape= needs its layers, got None; pass layers=[…]")
            self.found_layers = [place.layer for place in find_layers(call, 3)]

    def explain(self, call: Call) -> Tensor:
        self.find(call)
        layers = self.layers or self.found_layers or []
        first, maps = self.base.layer, []
        try:  # no other thread sees the base with a changed layer, as explanations of one model wait for each other
            for layer in layers:
                self.base.layer = layer
                found = self.base.map_of(call)
                maps.append(minmax(found, tuple(range(2, found.ndim))))
        finally:
            self.base.layer = first
        largest = max((map_.shape[2:] for map_ in maps), key=prod)
        stacked = torch.stack([upsample(map_, largest) for map_ in maps])
        return FUSED[self.fusion](stacked)
