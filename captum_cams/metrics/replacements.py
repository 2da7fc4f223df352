"""What may stand in the place of removed pixels, by name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_cams.engine.generators import generator_of
from captum_cams.errors import lookup
from captum_cams.images import blur
from captum_cams.metrics.functional.imputation import noisy_linear_imputation
from captum_cams.metrics.functional.inpainting import telea_inpainting
from captum_cams.metrics.presets import Imputation, Replacement


def mean_colour(images: Tensor) -> Tensor:
    """Fill each image with its own mean colour.

    Args:
        images: N×C×H×W, signals or volumes.

    Returns:
        Images of the same shape; each channel has one value.

    Example::

        grey = metrics.mean_colour(images)
        assert grey.shape == images.shape
    """
    return images.mean(tuple(range(2, images.ndim)), keepdim=True).expand_as(images)


@dataclass(frozen=True)
class Noise:
    """Fill images with uniform noise between the lowest and the highest value of each channel.

    Every image gets the same noise, scaled to its own values, so that a batch gives what each image alone gives.

    Args:
        seed: another seed gives other noise.

    Example::

        grainy = metrics.Noise(seed=1)(images)
        assert grainy.shape == images.shape
    """

    seed: int = 0

    def __call__(self, images: Tensor) -> Tensor:
        axes = tuple(range(2, images.ndim))
        low, high = images.amin(axes, keepdim=True), images.amax(axes, keepdim=True)
        field = torch.rand(images.shape[1:], generator=generator_of(self.seed), dtype=torch.float64).to(images)
        return low + field * (high - low)


REPLACEMENTS: dict[str, Replacement] = {
    # The value 0 of the input of the model: black, or the mean colour of the data set if the input is normalised.
    "zero": torch.zeros_like,
    # A Gaussian of 51 pixels, σ 50, as in the presets of two papers.
    "blur": blur,
    "mean": mean_colour,
    "noise": Noise(),
    # Rong et al., ICML 2022: each removed pixel is the weighted mean of its neighbours.
    "linear": Imputation(noisy_linear_imputation),
    # Telea 2004; needs the extra "inpainting".
    "telea": Imputation(telea_inpainting),
}
"""What replaces the pixels that deletion removes and that insertion has not yet shown."""


def find_replacements(given: str | Iterable[str] | Mapping[str, Replacement]) -> dict[str, Replacement]:
    """Find replacements by their names; a mapping from own names to replacements is returned as it is.

    Raises:
        CAMError: a name is unknown; similar names are listed.
    """
    if isinstance(given, Mapping):
        return dict(given)
    names = [given] if isinstance(given, str) else given
    return {name: lookup("replacement", name, REPLACEMENTS) for name in names}
