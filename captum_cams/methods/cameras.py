"""CAMERAS."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.bases.spatial import SpatialCAM
from captum_cams.cost import Cost, named
from captum_cams.engine.capture import Seen
from captum_cams.engine.magnitude import product
from captum_cams.errors import CAMError, check_at_least
from captum_cams.images import upsample
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class CAMERAS(SpatialCAM):
    """Multiply activations and gradients that are averaged over resolutions of the input; at the input's size.

    Jalwana et al. 2021, eq. 3 to 5: A and G of the input at several sizes (bicubic), each upsampled to the input's size
    and averaged; map = ReLU(Σ_k Ā_k Ḡ_k).

    Args:
        resolutions: sizes, the input's own included; memory grows with channels × pixels of one image.
        step: pixels that the shorter side grows by from one size to the next.
        **options: see :class:`CAMAttribution`.

    Raises:
        CAMError: the model takes inputs of one size only.
    """

    paper = Paper(
        "Jalwana et al.",
        "CAMERAS: Enhanced Resolution and Sanity Preserving Class Activation Mapping for Image Saliency",
        "CVPR",
        2021,
        "https://arxiv.org/abs/2106.10649",
    )
    cost = Cost(1 + named("resolutions"), gradients=named("resolutions"))
    per_channel = False
    at_input_size = True

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        resolutions: int = 8,
        step: int = 100,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        check_at_least("resolutions", resolutions, 1)
        check_at_least("step", step, 1)
        self.resolutions, self.step = resolutions, step

    def maps(self, seen: Seen) -> Tensor:
        return torch.cat([self._map(seen, sample) for sample in range(len(seen.activation))])

    def _map(self, seen: Seen, sample: int) -> Tensor:
        image = seen.inputs[0][sample : sample + 1]
        size, shorter = image.shape[2:], min(image.shape[2:])
        activation = gradient = torch.zeros((), dtype=seen.activation.dtype, device=image.device)
        for i in range(self.resolutions):
            sides = [round(side * (shorter + i * self.step) / shorter) for side in size]
            resized = image if i == 0 else upsample(image, sides, mode="bicubic")
            look = self._look(seen, resized, sample)
            activation = activation + upsample(look.activation, size)
            gradient = gradient + upsample(look.gradient, size)
        return product(activation, gradient / self.resolutions**2).sum(1, keepdim=True)

    def _look(self, seen: Seen, image: Tensor, sample: int) -> Seen:
        try:
            return seen.again(image, [sample])
        except (RuntimeError, AssertionError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            size = "×".join(map(str, image.shape[2:]))
            raise CAMError(
                f"CAMERAS needs a model that takes inputs of any size, got an error at {size} "
                f"({str(error).splitlines()[0]}); use fewer resolutions or another method"
            ) from error
