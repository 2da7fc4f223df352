"""FG-CAM."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.spatial import SpatialCAM
from captum_cams.bases.wrapped import WrappedCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen, as_tuple, capture
from captum_cams.engine.layers import Place, named_layer
from captum_cams.engine.precision import full_precision
from captum_cams.engine.untouched import untouched
from captum_cams.errors import CAMError, shape_of
from captum_cams.paper import Paper
from captum_cams.registry import register
from captum_cams.relevance.propagation import BatchNorm, Propagation, Range


@register
class FGCAM(WrappedCAM):
    """Carry a deep map down to a shallower layer or to the pixels, as relevance.

    Qiu et al. 2024, section 3: I_L = w ∘ A_L, carried by z⁺ (zβ at the input) to I_l, map = ReLU(Σ_k I_l) with the size
    of l.

    Args:
        base: gives the components I_L; any method with one map per channel.
        to: the module at whose output the map is wanted, by name or itself, or "input".
        denoising: keep only the largest tenth of the singular values of I_L, its rows centred ("FG-CAM with
            denoising"); at least one is kept.
        batch_norm: see :class:`Propagation`.
        pixel_range: see :class:`Propagation`.
        **options: see :class:`WrappedCAM`.

    Raises:
        CAMError: the base has no map per channel, ``to`` is not before its layer, or an operation between the two
            has no rule.
    """

    paper = Paper(
        "Qiu et al.",
        "Fine-Grained and High-Faithfulness Explanations for Convolutional Neural Networks",
        "AAAI",
        2024,
        "https://arxiv.org/abs/2303.09171",
    )
    cost = Cost(0, bases=1, gradients=1)
    base: SpatialCAM

    def __init__(
        self,
        forward_func: Callable[..., Any],
        base: str | CAMAttribution = "gradcam",
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        to: nn.Module | str = "input",
        denoising: bool = False,
        batch_norm: BatchNorm = "identity",
        pixel_range: Range | None = None,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, base, layer, device_ids, **options)
        if not isinstance(self.base, SpatialCAM) or not self.base.per_channel:
            raise CAMError(
                f"FG-CAM needs a base with a map per channel of one layer, got {type(self.base).__name__}; use a "
                "weighting method, as Grad-CAM"
            )
        if self.base.layout is not None:
            raise CAMError("FG-CAM needs a layer that gives N×K×h×w itself; relevance has no way through reshape=")
        self.to = to if to == "input" else named_layer(forward_func, to)
        Propagation(batch_norm, pixel_range)  # raises where they do not fit
        self.denoising, self.batch_norm, self.pixel_range = denoising, batch_norm, pixel_range

    @property
    def at_input_size(self) -> bool:
        return not isinstance(self.to, nn.Module)

    def contributions(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
    ) -> Tensor:
        with untouched(self.forward_func):
            tensors = as_tuple(inputs)
            place = self.base.place(tensors, additional_forward_args, attribute_to_layer_input)
            end = Place(self.to) if isinstance(self.to, nn.Module) else tensors[0]
            propagation = Propagation(self.batch_norm, self.pixel_range)
            with ExitStack() as stack:
                trail = None
                if not (isinstance(end, Place) and end == place):
                    trail = stack.enter_context(propagation.trail(self.forward_func, end, place, tensors))
                seen = capture(self.forward_func, place, tensors, target, additional_forward_args, self.base.needs)
            components = self._components(self.base, seen)
            return components if trail is None else trail.back(lambda activation: components)

    def _components(self, base: SpatialCAM, seen: Seen) -> Tensor:
        with full_precision(seen.activation.device):
            components = base.maps(seen)
        if components.shape != seen.activation.shape:
            raise CAMError(
                f"FG-CAM needs a base with a map per channel ({shape_of(seen.activation)}), got "
                f"{shape_of(components)} from {type(base).__name__}; use a weighting method, as Grad-CAM"
            )
        return denoise(components) if self.denoising else components


def denoise(components: Tensor) -> Tensor:
    """N×K×h×w, each N's K×(h·w) centred by rows and rebuilt from a tenth of its singular values."""
    rows = components.flatten(2)
    left, values, right = torch.linalg.svd(rows - rows.mean(2, keepdim=True), full_matrices=False)
    kept = max(1, values.shape[1] // 10)
    return (left[..., :kept] * values[:, None, :kept] @ right[:, :kept]).reshape(components.shape)
