"""Base class of methods that make one map from the maps of several layers."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.engine.call import Call
from captum_cams.engine.layers import named_layer
from captum_cams.engine.search import find_layers
from captum_cams.errors import CAMError, brief
from captum_cams.images import minmax, upsample


class LayeredCAM(CAMAttribution):
    """The base class of methods that look at several layers of one network.

    A subclass writes :meth:`map_at`, the map of one layer, and :meth:`combine`, which makes one map from all of them.

    Args:
        layers: modules or names, the earliest first; None takes the last layer of each size of map in the network, at
            most :attr:`sizes`.
        **options: see :class:`CAMAttribution`.

    Raises:
        CAMError: ``layers`` is empty or not a list, or a layer is not found; in a call, if ``reshape`` is given and
            ``layers`` is not.

    Example::

        zoomcam = cc.ZoomCAM(model, layers=["layer2", "layer4"])
        assert isinstance(zoomcam, cc.LayeredCAM)
    """

    sizes: ClassVar[int] = 5
    """How many sizes of maps are taken if no layers are given; a VGG-16 has five."""

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        layers: Sequence[nn.Module | str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        if isinstance(layers, str | nn.Module):
            raise CAMError(f"layers must be a list of modules or names, got {brief(layers)}; put it in a list")
        if layers is not None and not layers:
            raise CAMError("layers must name at least one layer, got none; layers=None finds some")
        chosen = [self.layer] if layers is None and self.layer is not None else layers
        self.layers = None if chosen is None else [named_layer(forward_func, one) for one in chosen]
        self.found_layers: list[nn.Module] | None = None

    @abstractmethod
    def map_at(self, call: Call, layer: nn.Module) -> Tensor:
        """Compute the map of one layer.

        Args:
            call: as in :meth:`CAMAttribution.explain`.
            layer: the layer.

        Returns:
            The map N×1×h×w.
        """

    @abstractmethod
    def combine(self, maps: list[Tensor]) -> Tensor:
        """Make one map from those of all layers.

        Args:
            maps: the maps N×1×h×w in the order of the layers; their sizes may differ.

        Returns:
            The map N×1×h×w.
        """

    def find(self, call: Call) -> None:
        if self.layers is None and self.found_layers is None:
            if self.reshape is not None:
                raise CAMError(f"{type(self).__name__} with reshape= needs its layers, got None; pass layers=[…]")
            self.found_layers = [place.layer for place in reversed(find_layers(call, self.sizes))]

    def explain(self, call: Call) -> Tensor:
        self.find(call)
        return self.combine([self.map_at(call, layer) for layer in self.layers or self.found_layers or []])

    def map_size(self, call: Call) -> torch.Size:
        return self.explain(call.rows(call.inputs[0][:1], [0])).shape[2:]


def scaled(maps: list[Tensor]) -> Tensor:
    """Scale each map to [0, 1], and resize it to the largest.

    Args:
        maps: L maps N×1×h×w, whose sizes may differ.

    Returns:
        The maps L×N×1×h×w.
    """
    largest = max((one.shape[2:] for one in maps), key=prod)
    return torch.stack([upsample(minmax(one, tuple(range(2, one.ndim))), largest) for one in maps])
