"""The centre baseline."""

import torch
from torch import Tensor

from captum_cams.bases.spatial import SpatialCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class Centre(SpatialCAM):
    """Shows a bright spot in the middle, whatever the model and the image are: a baseline.

    Photographers tend to centre their objects, so this map often points at the object. It is the centre baseline of
    Zhang et al. 2018, section 4, drawn as a Gaussian whose σ is a quarter of each side: map = exp(−8 (u² + v²)), with u
    and v from −½ to ½ over the map of the layer (one such square for each axis of a volume). Values lie in (0, 1].

    Example::

        baseline = cc.Centre(model, "layer4")
        maps = baseline.attribute(images)
    """

    title = "Centre"
    paper = Paper(
        "Zhang et al.",
        "Top-down Neural Attention by Excitation Backprop",
        "IJCV",
        2018,
        "https://arxiv.org/abs/1608.00507",
    )
    cost = Cost()
    per_channel = False
    any_dimension = True

    def maps(self, seen: Seen) -> Tensor:
        size = seen.activation.shape[2:]
        axes = [(torch.arange(side).to(seen.activation) + 0.5) / side - 0.5 for side in size]
        squares = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0)
        return torch.exp(-8 * squares).expand(len(seen.activation), 1, *size)
