"""Feature explanation method (FEM)."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from captum_cams.bases.spatial import WeightedCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.errors import CAMError
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class FEM(WeightedCAM):
    """Shows the features that stand out at some positions, which are the same for every class.

    Fuad et al. 2020, section III: the weight of a channel is the share of its positions with rare, strong activations,
    w_k = mean(A_k > ⟨A_k⟩ + d·std(A_k)), where std is the standard deviation over the positions, and
    map = ReLU(Σ_k w_k A_k).

    Args:
        deviations: d, how many standard deviations above the mean count as strong, at least 0.
        **options: see :class:`CAMAttribution`.

    Raises:
        CAMError: ``deviations`` is negative.

    Example::

        cam = cc.FEM(model, "layer4", deviations=1.5)
        maps = cam.attribute(images)  # needs no target
    """

    title = "FEM"
    paper = Paper(
        "Fuad et al.",
        "Features Understanding in 3D CNNs for Actions Recognition in Video",
        "IPTA",
        2020,
        "https://hal.science/hal-02963298",
    )
    cost = Cost()
    any_dimension = True

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        deviations: float = 2.0,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        if not deviations >= 0:
            raise CAMError(f"deviations must be at least 0, got {deviations}")
        self.deviations = deviations

    def weights(self, seen: Seen) -> Tensor:
        values = seen.activation.flatten(2)
        # Relative to one position, a constant channel is exactly 0, and no rounding makes it stand out.
        values = values - values[..., :1]
        spread = values.std(2, correction=0, keepdim=True)
        return (values > values.mean(2, keepdim=True) + self.deviations * spread).to(values).mean(2)
