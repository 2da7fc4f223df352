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
    """Shows which pixels activate the layer and raise the class score at several sizes of the image.

    Jalwana et al. 2021, eq. 3 to 5: the image is enlarged (bicubic) step by step; the activations A and the gradients G
    at each size are upsampled to the size of the input and averaged; map = ReLU(Σ_k Ā_k Ḡ_k). The map is as large as
    the image, N×1×H×W.

    Args:
        resolutions: number of sizes, at least 1; the first one is the size of the input. Memory grows with channels ×
            pixels of one image.
        step: pixels by which the shorter side grows from one size to the next, at least 1.
        **options: see :class:`CAMAttribution`.

    Raises:
        CAMError: ``resolutions`` or ``step`` is not a positive integer; in a call, if the model refuses a larger image,
            or if no gradient of the score reaches the layer.

    Example::

        cam = cc.CAMERAS(model, "layer4", resolutions=3, step=32)
        maps = cam.attribute(images, labels)  # 2×1×64×64
    """

    title = "CAMERAS"
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
        seen.call.check_unmoved(type(self).__name__)
        return torch.cat([self._map(seen, sample) for sample in range(len(seen.activation))])

    def _map(self, seen: Seen, sample: int) -> Tensor:
        image = seen.inputs[0][sample : sample + 1]
        size, shorter = image.shape[2:], min(image.shape[2:])
        activation = gradient = torch.zeros((), dtype=seen.activation.dtype, device=image.device)
        for i in range(self.resolutions):
            sides = [round(side * (shorter + i * self.step) / shorter) for side in size]
            resized = image if i == 0 else upsample(image, sides, mode="bicubic")
            seen_resized = self._run(seen, resized, sample)
            activation = activation + upsample(seen_resized.activation, size)
            gradient = gradient + upsample(seen_resized.gradient, size)
        return product(activation, gradient / self.resolutions**2).sum(1, keepdim=True)

    def _run(self, seen: Seen, image: Tensor, sample: int) -> Seen:
        try:
            return seen.again(image, [sample])
        except (RuntimeError, AssertionError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            size = "×".join(map(str, image.shape[2:]))
            raise CAMError(
                f"CAMERAS needs a model that takes images of any size, got an error for an image of {size} "
                f"({str(error).splitlines()[0]}); use fewer resolutions, or another method"
            ) from error
