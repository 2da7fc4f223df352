"""The blurred copy of a map, a control."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.wrapped import WrappedCAM
from captum_cams.cost import Cost
from captum_cams.engine.call import Call
from captum_cams.errors import check_positive
from captum_cams.images import smooth
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class Blurred(WrappedCAM):
    """Shows the base's map with less detail: a control, which knows nothing that the base does not know.

    map = G_σ ∗ M, at the size of the base's map M, with a Gaussian G_σ that reflects the border. A metric that rates
    this copy above the base rewards smoothness. Kümmerer et al. 2018 show for predictions of where people look that no
    single map does well under all metrics: each metric wants its own map of one and the same model.

    Args:
        sigma: the standard deviation σ as a share of the longest side of the map, above 0.
        **options: see :class:`WrappedCAM`.

    Raises:
        CAMError: ``sigma`` is not a positive number.

    Example::

        copy = cc.Blurred(model, "layer4", base="gradcam", sigma=0.2)
        maps = copy.attribute(images, labels)  # the size of Grad-CAM's maps
    """

    title = "Blurred {base}"
    paper = Paper(
        "Kümmerer et al.",
        "Saliency Benchmarking Made Easy: Separating Models, Maps and Metrics",
        "ECCV",
        2018,
        "https://arxiv.org/abs/1704.08615",
    )
    cost = Cost(0, bases=1)
    rectifies = False  # the base does, before the blur

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        base: str | CAMAttribution = "gradcam",
        sigma: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, base=base, **options)
        check_positive("sigma", sigma)
        self.sigma = sigma

    @property
    def at_input_size(self) -> bool:
        return self.base.at_input_size

    def explain(self, call: Call) -> Tensor:
        return smooth(self.base.map_of(call), self.sigma)
