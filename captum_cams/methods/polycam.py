"""Poly-CAM."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum_cams.bases.layered import LayeredCAM
from captum_cams.bases.perturbed import PerturbedCAM
from captum_cams.bases.spatial import WeightedCAM
from captum_cams.cost import Cost, K, named
from captum_cams.engine.call import Call
from captum_cams.engine.capture import Seen, capture
from captum_cams.engine.layers import Place
from captum_cams.engine.targets import wide
from captum_cams.errors import CAMError, check_choice
from captum_cams.images import minmax, upsample
from captum_cams.paper import Paper
from captum_cams.registry import register

Form = Literal["plus", "minus", "plus_minus"]


@register
class PolyCAM(LayeredCAM, PerturbedCAM, WeightedCAM):
    """Shows the map of a deep layer with the detail of earlier layers, without gradients.

    Englebert et al. 2024: each layer l has a map M_l = ReLU(Σ_k w_k A_k). From the deepest layer to the earliest, the
    map so far sharpens the next one: P_l = LNorm(M_l) ∘ up(P_{l+1}), where LNorm divides M_l by its own mean around
    each position, M_l resized to the size of P_{l+1} and back. With the class probability p of the image x and the mask
    m_k = up(norm(A_k)), the weights are

    - "plus": w_k = p(x ∘ m_k), PCAM+;
    - "minus": w_k = ReLU(p(x) − p(x ∘ (1 − m_k))), PCAM−;
    - "plus_minus": w_k = ReLU(p(x ∘ m_k) + p(x) − p(x ∘ (1 − m_k))), PCAM±.

    The masks lie between the smallest and the largest activation; the authors' code cuts 0.1 % off at both ends.

    Args:
        layers: modules or names, the earliest first; None takes the last layer of each size of map in the network, at
            most five.
        form: how the channels are weighted.
        **options: see :class:`PerturbedCAM`; ``perturbations_per_eval`` is the number of masked images in one run.

    Raises:
        CAMError: ``layers`` is empty or not a list, a layer is not found, or ``form`` is unknown; in a call, if a later
            layer has a larger map than an earlier one.

    Example::

        cam = cc.PolyCAM(model, layers=["layer2", "layer4"], form="plus")
        maps = cam.attribute(images, labels)  # as large as the map of layer2
    """

    title = "Poly-CAM"
    paper = Paper(
        "Englebert et al.",
        "Poly-CAM: High resolution class activation map for convolutional neural networks",
        "Machine Vision and Applications",
        2024,
        "https://arxiv.org/abs/2204.13359",
    )
    cost = Cost(named("layers") * (1 + 2 * K))
    per_channel = False
    any_dimension = True

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        form: Form = "plus_minus",
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        check_choice("form", form, Form)
        self.form = form

    def map_at(self, call: Call, layer: nn.Module) -> Tensor:
        seen = capture(call, Place(layer, call.at_input, self.layout), self.needs)
        return self.components(seen).sum(1, keepdim=True).relu()

    def combine(self, maps: list[Tensor]) -> Tensor:
        *earlier, found = maps
        for map_ in reversed(earlier):
            found = _sharpened(found, map_)
        return found

    def weights(self, seen: Seen) -> Tensor:
        return torch.stack([self._channel_weights(seen, sample) for sample in range(len(seen.activation))])

    def _channel_weights(self, seen: Seen, sample: int) -> Tensor:
        """The weights of all channels of one sample, K."""
        image, maps = seen.inputs[0][sample], seen.activation[sample]
        whole = seen.call.score_of(wide(seen.output[sample : sample + 1]), sample, "probability")
        parts = [
            self._of_masks(
                seen,
                sample,
                upsample(minmax(maps[part, None].flatten(2), 2).view_as(maps[part, None]), image.shape[1:]).to(
                    image.dtype
                ),
                whole,
            )
            for part in self.chunks(torch.arange(len(maps), device=maps.device))
        ]
        return torch.cat(parts)

    def _of_masks(self, seen: Seen, sample: int, masks: Tensor, whole: Tensor) -> Tensor:
        """The weights of the channels that some masks R×1×H×W come from, R."""
        image = seen.inputs[0][sample]
        kept = lost = torch.zeros_like(whole)
        if self.form != "minus":
            kept = seen.rerun.scores(image * masks, sample, "probability")
        if self.form != "plus":
            lost = whole - seen.rerun.scores(image * (1 - masks), sample, "probability")
        return kept if self.form == "plus" else (kept + lost).relu()


def _sharpened(deep: Tensor, early: Tensor) -> Tensor:
    """Give the map of a deep layer the detail of the map of an earlier one, both N×1×h×w."""
    if any(small > large for small, large in zip(deep.shape[2:], early.shape[2:], strict=True)):
        sizes = "×".join(map(str, deep.shape[2:])), "×".join(map(str, early.shape[2:]))
        raise CAMError(
            f"the layers of PolyCAM must be in the order of the network, and maps must not grow, got {sizes[1]} before "
            f"{sizes[0]}; pass layers= with the earliest first"
        )
    around = upsample(upsample(early, deep.shape[2:]), early.shape[2:])
    detail = torch.where(around > 0, early / around.where(around > 0, 1), 0)
    return detail * upsample(deep, early.shape[2:])
