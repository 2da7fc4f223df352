"""FG-CAM."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.spatial import SpatialCAM
from captum_cams.bases.wrapped import WrappedCAM
from captum_cams.cost import Cost
from captum_cams.engine.arranged import arranged_back, settled
from captum_cams.engine.call import Call
from captum_cams.engine.capture import Seen, capture
from captum_cams.engine.layers import Place, named_layer
from captum_cams.errors import CAMError, shape_of
from captum_cams.paper import Paper
from captum_cams.registry import register
from captum_cams.relevance.propagation import BatchNorm, Propagation, Range


@register
class FGCAM(WrappedCAM):
    """Shows the base's map of a deep layer in fine detail, at a shallower layer or at the pixels.

    Qiu et al. 2024, section "FG-CAM": the contributions of the base at layer L, I_L = w ∘ A_L, are carried as relevance
    to the contributions I_l at an earlier layer l, by z⁺ (zβ at the input); map = ReLU(Σ_k I_l). The map has the size
    of l, or N×1×H×W at the input. Tokens that are not in the map, such as the class token, start without relevance.

    Args:
        base: an explainer or its name; any method with one map per channel.
        to: the module at whose output the map is wanted, by name or itself, or "input". The layout of its output is
            found in the first call.
        denoising: True keeps only the largest tenth of the singular values of I_L with centred rows, at least one
            ("FG-CAM with denoising").
        batch_norm: see :class:`Propagation`.
        pixel_range: see :class:`Propagation`.
        **options: see :class:`WrappedCAM`.

    Raises:
        CAMError: the base has no map per channel, or ``to`` is not found; in a call, if ``to`` is not before the layer
            of the base or gives no map, or an operation between the two has no rule for relevance.

    Example::

        cam = cc.FGCAM(model, "layer4", base="gradcam", to="layer2")
        maps = cam.attribute(images, labels)  # as large as the map of layer2
    """

    title = "FG-CAM"
    paper = Paper(
        "Qiu et al.",
        "Empowering CAM-Based Methods with Capability to Generate Fine-Grained and High-Faithfulness Explanations",
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
            kind = type(self.base).__name__
            remedy = f"turn the two round, {kind}(model, base=FGCAM(model, …))" if self.base.wraps else "use Grad-CAM"
            raise CAMError(f"FG-CAM needs a base with a map per channel of one layer, got {kind}; {remedy}")
        self.to = to if to == "input" else named_layer(forward_func, to)
        Propagation(batch_norm, pixel_range)  # raises if they do not fit
        self.denoising, self.batch_norm, self.pixel_range = denoising, batch_norm, pixel_range

    @property
    def at_input_size(self) -> bool:
        return not isinstance(self.to, nn.Module)

    def explain(self, call: Call) -> Tensor:
        call = call.copied()  # since the trail marks the inputs
        start = settled(call, self.base.place(call))
        end = Place(self.to) if isinstance(self.to, nn.Module) else call.inputs[0]
        if isinstance(end, Place) and (end.layer, end.at_input) == (start.layer, start.at_input):
            return self._components(capture(call, start, self.base.needs))
        propagation = Propagation(self.batch_norm, self.pixel_range)
        with propagation.trail(call.network, end, start, call.inputs) as trail:
            seen = capture(call, start, self.base.needs)
        relevance = trail.back(self._components(seen), layout=start.layout)
        if not isinstance(end, Place):
            return relevance
        return arranged_back(call, settled(call, end, tuple(relevance.shape)), relevance, "relevance")

    def _components(self, seen: Seen) -> Tensor:
        components = self.base.components(seen)
        if components.shape != seen.activation.shape:
            raise CAMError(
                f"FG-CAM needs a base with a map per channel ({shape_of(seen.activation)}), got {shape_of(components)} "
                f"from {type(self.base).__name__}; use a method with weights for channels, such as Grad-CAM"
            )
        return denoise(components) if self.denoising else components


def denoise(components: Tensor) -> Tensor:
    """Rebuild contributions N×K×h×w, seen as K×(h·w) with centred rows, from a tenth of their singular values."""
    rows = components.flatten(2)
    left, values, right = torch.linalg.svd(rows - rows.mean(2, keepdim=True), full_matrices=False)
    kept = max(1, values.shape[1] // 10)
    return (left[..., :kept] * values[:, None, :kept] @ right[:, :kept]).reshape(components.shape)
