"""The constant baseline."""

from torch import Tensor

from captum_cams.attribution import SpatialCAM
from captum_cams.engine.capture import Seen
from captum_cams.registry import register


@register
class Constant(SpatialCAM):
    """The same value everywhere: it says nothing, and games average drop and increase.

    The baseline of Hartley et al., "Jitter-CAM", BMVC 2021, section 4.2: map = 0.9.
    """

    cost = "1"

    def maps(self, seen: Seen) -> Tensor:
        return seen.activation.new_full((len(seen.activation), 1, *seen.activation.shape[2:]), 0.9)
