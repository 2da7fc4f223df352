"""The sharpened copy of a map, a control."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.wrapped import WrappedCAM
from captum_cams.cost import Cost
from captum_cams.engine.call import Call
from captum_cams.engine.targets import wide
from captum_cams.errors import check_positive
from captum_cams.images import smooth
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class Sharpened(WrappedCAM):
    """Shows the base's map with its edges and peaks made stronger: a control, which knows no more than the base.

    An unsharp mask of the base's map M: map = max(min M, M + s·(M − G_σ ∗ M)), with the Gaussian G_σ of
    :class:`Blurred`. The lower bound keeps what was empty empty. A metric that rates this copy above the base rewards
    contrast; see Kümmerer et al. 2018 there.

    Args:
        sigma: the standard deviation σ as a share of the longest side of the map, above 0.
        strength: s, the factor of what is added, above 0.
        **options: see :class:`WrappedCAM`.

    Raises:
        CAMError: ``sigma`` or ``strength`` is not a positive number.

    Example::

        copy = cc.Sharpened(model, "layer4", base="gradcam", strength=2.0)
        maps = copy.attribute(images, labels)  # the size of Grad-CAM's maps
    """

    title = "Sharpened {base}"
    paper = Paper(
        "Kümmerer et al.",
        "Saliency Benchmarking Made Easy: Separating Models, Maps and Metrics",
        "ECCV",
        2018,
        "https://arxiv.org/abs/1704.08615",
    )
    cost = Cost(0, bases=1)
    rectifies = False  # the base does, before the mask

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        base: str | CAMAttribution = "gradcam",
        sigma: float = 0.1,
        strength: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, base=base, **options)
        check_positive("sigma", sigma)
        check_positive("strength", strength)
        self.sigma, self.strength = sigma, strength

    @property
    def at_input_size(self) -> bool:
        return self.base.at_input_size

    def explain(self, call: Call) -> Tensor:
        maps = wide(self.base.map_of(call))
        lowest = maps.amin(tuple(range(2, maps.ndim)), keepdim=True)
        return (maps + self.strength * (maps - smooth(maps, self.sigma))).maximum(lowest)
