"""Pixel orders of the papers: how many pixels a step takes, and what stands in for a removed one."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from captum_cams.blur import blur
from captum_cams.errors import CAMError, near


@dataclass(frozen=True)
class Preset:
    """A protocol for the deletion and the insertion curve.

    Args:
        steps: number of steps from the whole image to the whole replacement.
        deleted: images → what a deleted pixel becomes.
        inserted_into: images → where insertion starts.
    """

    steps: int
    deleted: Callable[[Tensor], Tensor]
    inserted_into: Callable[[Tensor], Tensor]


_rise_blur = partial(blur, kernel_size=11, sigma=5.0)

PRESETS: dict[str, Preset] = {
    # Petsiuk et al., BMVC 2018: 224 of 224² pixels a step; zero is the data set's mean after normalisation.
    "rise": Preset(224, torch.zeros_like, _rise_blur),
    # Li et al., ICPR 2022: 3.6 % a step; "zero-valued image or blurred version", here zeros out and blur in.
    "fdcam": Preset(28, torch.zeros_like, blur),
    # Qiu et al., AAAI 2024: 448 of 224² pixels a step, blurred pixels both ways.
    "fgcam": Preset(112, blur, blur),
    # Hartley et al., BMVC 2021: 28 iterations of RISE's metric.
    "jittercam": Preset(28, torch.zeros_like, _rise_blur),
    # Not of a paper: few steps, for use while training.
    "quick": Preset(10, torch.zeros_like, _rise_blur),
}


def find_preset(preset: str | Preset) -> Preset:
    """The preset itself or the one with this name.

    Raises:
        CAMError: unknown name; near ones are listed.
    """
    if isinstance(preset, Preset):
        return preset
    if preset not in PRESETS:
        raise CAMError(f"unknown preset {preset!r}{near(str(preset), PRESETS) or '; there are ' + ', '.join(PRESETS)}")
    return PRESETS[preset]
