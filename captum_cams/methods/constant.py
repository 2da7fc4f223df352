"""The constant baseline."""

from torch import Tensor

from captum_cams.bases.spatial import SpatialCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class Constant(SpatialCAM):
    """Shows nothing, as the map has one value almost everywhere: a baseline.

    Average drop and average increase rate such a map well, and this baseline reveals it. Hartley et al. 2021, section
    4.3: map = 0.9, but 0 in the first position and 1 in the last one, so that the rest stays at 0.9 when the map is
    scaled to [0, 1]. The paper draws these two positions at random.

    Example::

        baseline = cc.Constant(model, "layer4")
        maps = baseline.attribute(images)
    """

    title = "Constant"
    paper = Paper(
        "Hartley et al.",
        "Jitter-CAM: Improving the Spatial Resolution of CAM-Based Explanations",
        "BMVC",
        2021,
        "https://github.com/HartleyTW/Jitter-CAM",
    )
    cost = Cost()
    per_channel = False
    any_dimension = True

    def maps(self, seen: Seen) -> Tensor:
        size = seen.activation.shape[2:]
        flat = seen.activation.new_full((len(seen.activation), size.numel()), 0.9)
        flat[:, 0], flat[:, -1] = 0, 1
        return flat.view(len(flat), 1, *size)
