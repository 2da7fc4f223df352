"""FG-CAM."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.spatial import SpatialCAM
from captum_cams.bases.wrapped import WrappedCAM
from captum_cams.cost import Cost
from captum_cams.engine.call import Call
from captum_cams.engine.capture import Seen, capture
from captum_cams.engine.layers import Place, named_layer
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
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        base: str | CAMAttribution = "gradcam",
        to: nn.Module | str = "input",
        denoising: bool = False,
        batch_norm: BatchNorm = "identity",
        pixel_range: Range | None = None,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, base=base, **options)
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

    def explain(self, call: Call) -> Tensor:
        call = call.copied()  # for the trail, which marks them
        start = self.base.place(call)
        end = Place(self.to) if isinstance(self.to, nn.Module) else call.inputs[0]
        if isinstance(end, Place) and end == start:
            return self._components(capture(call, start, self.base.needs))
        propagation = Propagation(self.batch_norm, self.pixel_range)
        with propagation.trail(call.network, end, start, call.inputs) as trail:
            seen = capture(call, start, self.base.needs)
        return trail.back(self._components(seen))

    def _components(self, seen: Seen) -> Tensor:
        components = self.base.components(seen)
        if components.shape != seen.activation.shape:
            raise CAMError(
                f"FG-CAM needs a base with a map per channel ({shape_of(seen.activation)}), got "
                f"{shape_of(components)} from {type(self.base).__name__}; use a weighting method, as Grad-CAM"
            )
        return denoise(components) if self.denoising else components


def denoise(components: Tensor) -> Tensor:
    """N×K×h×w, each N's K×(h·w) centred by rows and rebuilt from a tenth of its singular values."""
    rows = components.flatten(2)
    left, values, right = torch.linalg.svd(rows - rows.mean(2, keepdim=True), full_matrices=False)
    kept = max(1, values.shape[1] // 10)
    return (left[..., :kept] * values[:, None, :kept] @ right[:, :kept]).reshape(components.shape)
