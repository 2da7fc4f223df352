"""The random baseline."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.bases.spatial import SpatialCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.engine.generators import generator_of
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class Random(SpatialCAM):
    """Shows uniform noise, which every explanation should beat: a baseline.

    Petsiuk et al. 2018, table 1: map_ij ~ U(0, 1). The noise depends on the seed and on the image alone, so that an
    image has the same map in every batch.

    Args:
        seed: another seed gives other maps.
        **options: see :class:`CAMAttribution`.

    Example::

        baseline = cc.Random(model, "layer4", seed=1)
        maps = baseline.attribute(images)
    """

    title = "Random"
    paper = Paper(
        "Petsiuk et al.",
        "RISE: Randomized Input Sampling for Explanation of Black-box Models",
        "BMVC",
        2018,
        "https://arxiv.org/abs/1806.07421",
    )
    cost = Cost()
    per_channel = False
    any_dimension = True

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        self.seed = seed

    def maps(self, seen: Seen) -> Tensor:
        return torch.stack([self._noise(image, seen.activation) for image in seen.inputs[0]])

    def _noise(self, image: Tensor, activation: Tensor) -> Tensor:
        mantissa, exponent = math.frexp(float(image.double().sum()))
        generator = generator_of(self.seed, int(mantissa * 2**53), exponent)
        return torch.rand(1, *activation.shape[2:], generator=generator).to(activation)
