"""How each paper deletes and inserts pixels: how many in a step, and what replaces them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor

from captum_cams.errors import check_at_least, lookup
from captum_cams.images import blur


@dataclass(frozen=True)
class Preset:
    """How the deletion and the insertion curve replace the pixels of an image.

    Args:
        steps: number of steps from the whole image to the whole replacement, each with as many pixels as the others
            but for rounding.
        deleted: images → what a deleted pixel becomes.
        inserted_into: images → where insertion starts.
        pixels: pixels that each step takes; the last step takes the rest, and there are ⌈H·W / pixels⌉ of them.
            Then ``steps`` only says how many steps a curve has that is averaged over images of several sizes. None
            is even steps.
    """

    steps: int
    deleted: Callable[[Tensor], Tensor]
    inserted_into: Callable[[Tensor], Tensor]
    pixels: int | None = None

    def counts(self, total: int) -> Tensor:
        """How many of ``total`` pixels are replaced at each point of the curve, from none to all.

        Raises:
            CAMError: ``steps`` or ``pixels`` is no positive integer.
        """
        check_at_least("steps", self.steps, 1)
        if self.pixels is None:
            return torch.linspace(0, total, self.steps + 1).round()
        check_at_least("pixels", self.pixels, 1)
        return torch.tensor([*range(0, total, self.pixels), total])


def rise_blur(images: Tensor) -> Tensor:
    """Blur as the authors of RISE do: a Gaussian of σ 5 cut to 11×11 pixels, with zeros around the image."""
    channels = images.shape[1]
    kernel = _rise_kernel().to(images).expand(channels, 1, -1, -1)
    return F.conv2d(images, kernel, padding=kernel.shape[-1] // 2, groups=channels)


@cache
def _rise_kernel() -> Tensor:
    point = torch.zeros(11, 11, dtype=torch.float64)
    point[5, 5] = 1
    return torch.from_numpy(gaussian_filter(point.numpy(), 5))  # what is cut off is reflected into the kernel


_small_blur = partial(blur, kernel_size=11, sigma=5.0)

PRESETS: dict[str, Preset] = {
    # Petsiuk et al., BMVC 2018, and their code: 224 pixels a step whatever the size of the image, their own blur; zero
    # is the data set's mean after normalisation.
    "rise": Preset(224, torch.zeros_like, rise_blur, pixels=224),
    # Li et al., ICPR 2022: 3.6 % a step; "zero-valued image or blurred version", here zeros out and blur in.
    "fdcam": Preset(28, torch.zeros_like, blur),
    # Qiu et al., AAAI 2024: 448 of 224² pixels a step, the same share at other sizes, blurred pixels both ways.
    "fgcam": Preset(112, blur, blur),
    # Hartley et al., BMVC 2021: 28 iterations of RISE's metric; they name no blur, and this one reflects the border.
    "jittercam": Preset(28, torch.zeros_like, _small_blur),
    # Not of a paper: few steps, for use while training.
    "quick": Preset(10, torch.zeros_like, _small_blur),
}


def find_preset(preset: str | Preset) -> Preset:
    """The preset itself or the one with this name.

    Raises:
        CAMError: unknown name; near ones are listed.
    """
    return preset if isinstance(preset, Preset) else lookup("preset", preset, PRESETS)
