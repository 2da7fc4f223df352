"""How each paper deletes and inserts pixels: the number of steps and the replacement of the pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor

from captum_cams.errors import check_at_least, lookup
from captum_cams.images import blur


@dataclass(frozen=True)
class Preset:
    """How the deletion and insertion curves replace the pixels of an image.

    Args:
        steps: number of steps from the first image to the last image; all steps replace the same number of pixels,
            except for rounding.
        deleted: function from images to the images after deletion, for example ``torch.zeros_like``.
        inserted_into: function from images to the images from which insertion starts.
        pixels: number of pixels in each step; the last step takes the rest. The curve of an image then has
            ⌈H·W / pixels⌉ steps, and ``steps`` is only used for averages over images of different sizes. None makes
            ``steps`` equal steps.

    Example::

        grey = metrics.Preset(20, torch.zeros_like, torch.zeros_like)
        maps = cc.GradCAM(model).attribute(images, labels)
        print(metrics.deletion_curve(model, images, maps, labels, preset=grey).shape)  # 2×21
        print(grey.counts(64 * 64))
    """

    steps: int
    deleted: Callable[[Tensor], Tensor]
    inserted_into: Callable[[Tensor], Tensor]
    pixels: int | None = None

    def counts(self, total: int) -> Tensor:
        """Count the replaced pixels at each point of the curve.

        Args:
            total: the number of pixels of an image.

        Returns:
            One number for each point of the curve, from 0 to ``total``.

        Raises:
            CAMError: ``steps`` or ``pixels`` is not a positive integer.
        """
        check_at_least("steps", self.steps, 1)
        if self.pixels is None:
            return torch.linspace(0, total, self.steps + 1).round()
        check_at_least("pixels", self.pixels, 1)
        return torch.tensor([*range(0, total, self.pixels), total])


def rise_blur(images: Tensor) -> Tensor:
    """Blur as in the code of RISE: a Gaussian, σ 5, cut to 11 pixels along each axis, and zeros around the image."""
    point = torch.zeros(11, dtype=torch.float64)
    point[5] = 1
    kernel = torch.from_numpy(gaussian_filter(point.numpy(), 5)).to(images)  # reflects the values that are cut off
    for axis in range(2, images.ndim):
        lines = images.movedim(axis, -1)
        blurred = F.conv1d(lines.reshape(-1, 1, lines.shape[-1]), kernel[None, None], padding=5)
        images = blurred.reshape(lines.shape).movedim(-1, axis)
    return images.contiguous()


_small_blur = partial(blur, kernel_size=11, sigma=5.0)

PRESETS: dict[str, Preset] = {
    # Petsiuk et al., BMVC 2018, and their code: 224 pixels in each step for images of every size, with their own blur.
    # After normalisation, zero is the mean colour of the data set.
    "rise": Preset(224, torch.zeros_like, rise_blur, pixels=224),
    # Li et al., ICPR 2022: 3.6 % in each step; "zero-valued image or blurred version": here deletion puts zeros, and
    # insertion starts from the blurred image.
    "fdcam": Preset(28, torch.zeros_like, blur),
    # Qiu et al., AAAI 2024: 448 of 224² pixels in each step, the same share at other sizes; blurred pixels for both.
    "fgcam": Preset(112, blur, blur),
    # Hartley et al., BMVC 2021: 28 iterations of RISE's metric. They name no blur; this blur reflects the border.
    "jittercam": Preset(28, torch.zeros_like, _small_blur),
    # From no paper: few steps, for use during training.
    "quick": Preset(10, torch.zeros_like, _small_blur),
}


def find_preset(preset: str | Preset) -> Preset:
    """Find a preset by its name; a preset is returned as it is.

    Raises:
        CAMError: the name is unknown; similar names are listed.
    """
    return preset if isinstance(preset, Preset) else lookup("preset", preset, PRESETS)
