"""Group-CAM."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.bases.perturbed import PerturbedCAM
from captum_cams.bases.spatial import SpatialCAM
from captum_cams.cost import Cost, named
from captum_cams.engine.capture import Seen
from captum_cams.errors import check_at_least
from captum_cams.images import blur, heat
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class GroupCAM(PerturbedCAM, SpatialCAM):
    """Shows which parts of a blurred image must be sharp for the model to see the class.

    Zhang et al. 2021, eq. 3 to 8: the channels are split, in their order, into groups g. R_g = ReLU(Σ_{k∈g} ⟨G_k⟩ A_k)
    is the Grad-CAM map of a group, m_g = norm(up(R_g)) its mask, and s_g = ReLU(p_c(x ∘ m_g + blur(x) ∘ (1 − m_g)) −
    p_c(blur(x))) its weight; map = Σ_g s_g R_g. The blur is a Gaussian of 51 pixels, σ 50.

    Args:
        groups: number of groups of neighbouring channels, at least 1; a layer with fewer channels has one group per
            channel.
        **options: see :class:`PerturbedCAM`.

    Raises:
        CAMError: ``groups`` is not a positive integer; in a call, if no gradient of the score reaches the layer.

    Example::

        cam = cc.GroupCAM(model, "layer4", groups=16)
        maps = cam.attribute(images, labels)
    """

    title = "Group-CAM"
    paper = Paper(
        "Zhang et al.",
        "Group-CAM: Group Score-Weighted Visual Explanations for Deep Convolutional Networks",
        "arXiv",
        2021,
        "https://arxiv.org/abs/2103.13859",
    )
    cost = Cost(2 + named("groups"), gradients=1)
    per_channel = False
    needs_gradient = True
    any_dimension = True

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        groups: int = 32,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        check_at_least("groups", groups, 1)
        self.groups = groups

    def maps(self, seen: Seen) -> Tensor:
        weighted = seen.gradient.mean(tuple(range(2, seen.gradient.ndim)), keepdim=True) * seen.activation
        parts = weighted.tensor_split(min(self.groups, weighted.shape[1]), 1)
        groups = torch.stack([part.sum(1).relu() for part in parts], 1)
        blurred = blur(seen.inputs[0])
        gains = torch.stack(
            [self._gains(seen, sample, groups[sample], blurred[sample]) for sample in range(len(groups))]
        )
        return gains.reshape(*gains.shape, *[1] * (groups.ndim - 2)) * groups

    def _gains(self, seen: Seen, sample: int, groups: Tensor, blurred: Tensor) -> Tensor:
        image = seen.inputs[0][sample]

        def shown(part: Tensor) -> Tensor:
            masks = heat(part[:, None], image.shape[1:]).to(image.dtype)
            return seen.rerun.scores(blurred + masks * (image - blurred), sample, "probability")

        base = seen.rerun.scores(blurred[None], sample, "probability")
        return (torch.cat([shown(part) for part in self.chunks(groups)]) - base).relu()
