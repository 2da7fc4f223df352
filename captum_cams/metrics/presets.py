"""How each paper deletes and inserts pixels: the number of steps and the replacement of the pixels."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor

from captum_cams.errors import check_at_least, lookup
from captum_cams.images import blur


@dataclass(frozen=True)
class Imputation:
    """A replacement that reads which pixels are removed, and fills them from the pixels that are left.

    Args:
        fill: function from images N×C×H×W and their removed pixels, N×1×H×W booleans, to the changed images; each image
            must be filled as it would be alone.

    Example::

        linear = metrics.Imputation(metrics.noisy_linear_imputation)
        preset = metrics.PRESETS["quick"].with_replacement(linear)
    """

    fill: Callable[[Tensor, Tensor], Tensor]


Replacement = Callable[[Tensor], Tensor] | Imputation
"""What stands in the place of removed pixels: a function from images to what is shown there, or an imputation."""


@dataclass(frozen=True)
class Preset:
    """How the deletion and insertion curves replace the pixels of an image.

    Args:
        steps: number of steps from the first image to the last image; all steps replace the same number of pixels,
            except for rounding.
        deleted: function from images to the images after deletion, for example ``torch.zeros_like``, or an
            :class:`Imputation` of the pixels that are deleted so far.
        inserted_into: function from images to the images from which insertion starts, or an :class:`Imputation` of the
            pixels that are not yet inserted.
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
    deleted: Replacement
    inserted_into: Replacement
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

    def with_replacement(self, replacement: Replacement) -> "Preset":
        """Make the preset with the same steps and another replacement, for deletion and for insertion.

        Args:
            replacement: a function from images to images, or an :class:`Imputation`.

        Returns:
            The new preset.

        Example::

            grey = metrics.PRESETS["rise"].with_replacement(metrics.mean_colour)
        """
        return replace(self, deleted=replacement, inserted_into=replacement)


def filler(replacement: Replacement, images: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Prepare the replacement of pixels of some images.

    Args:
        replacement: what stands in the place of removed pixels.
        images: N×C×H×W.

    Returns:
        A function from the numbers of M samples and their removed pixels, M×1×H×W booleans, to the changed images.
    """
    if isinstance(replacement, Imputation):
        return lambda samples, removed: replacement.fill(images[samples], removed)
    others = replacement(images)
    return lambda samples, removed: torch.where(removed, others[samples], images[samples])


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
