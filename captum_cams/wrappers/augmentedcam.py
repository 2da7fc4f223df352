"""Averages over geometric transformations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, radians, sin
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.variants import VariantsCAM
from captum_cams.cost import Cost, named
from captum_cams.engine.call import Call
from captum_cams.engine.targets import wide
from captum_cams.errors import CAMError, brief
from captum_cams.images import upsample
from captum_cams.paper import Paper
from captum_cams.registry import register


@dataclass(frozen=True)
class Transformation:
    """An invertible change of the image plane.

    Args:
        flip: mirror left and right.
        angle: rotation in degrees, clockwise.
        scale: above 1 enlarges.
        shift: right and down, as shares of the width and the height.
    """

    flip: bool = False
    angle: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    def matrix(self, height: int, width: int) -> Tensor:
        """Where each output position reads, 3×3, in coordinates from −1 to 1."""
        turn, ratio = radians(self.angle), height / width
        linear = torch.tensor(
            [
                [cos(turn), -sin(turn) * ratio, 2 * self.shift[0]],
                [sin(turn) / ratio, cos(turn), 2 * self.shift[1]],
                [0.0, 0.0, 1.0],
            ],
            dtype=torch.float64,
        )
        linear[:2, :2] *= self.scale
        if self.flip:
            linear[:, 0] *= -1
        return linear.inverse()


PLANE = (
    Transformation(),
    Transformation(flip=True),
    *(Transformation(shift=shift) for shift in ((0.1, 0.0), (-0.1, 0.0), (0.0, 0.1), (0.0, -0.1))),
    *(Transformation(angle=angle) for angle in (-15.0, 15.0)),
    *(Transformation(scale=scale) for scale in (0.9, 1.1)),
)


@register
class AugmentedCAM(VariantsCAM):
    """Average the maps of moved, turned, scaled and mirrored images, each carried back; at the input's size.

    After Oh et al. 2021: map = Σ_t T_t⁻¹(up(M(T_t x))) / Σ_t T_t⁻¹(1), every
    position over the transformed images that show it.

    Args:
        transformations: what is done to the image; the first ten shift by a tenth, turn by 15° and scale by a tenth.
        **options: see :class:`VariantsCAM`.

    Raises:
        CAMError: no transformations, or one that is not invertible.
    """

    paper = Paper(
        "Oh et al.",
        "EVET: Enhancing Visual Explanations of Deep Neural Networks Using Image Transformations",
        "WACV",
        2021,
        "https://doi.org/10.1109/WACV48630.2021.00362",
    )
    cost = Cost(bases=named("transformations"))
    at_input_size = True

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        base: str | CAMAttribution = "gradcam",
        transformations: Sequence[Transformation] = PLANE,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, base=base, **options)
        known = [isinstance(one, Transformation) and one.scale > 0 for one in transformations]
        if not known or not all(known):
            raise CAMError(
                f"transformations must be a list of at least one Transformation(…), each with scale > 0, got "
                f"{brief(transformations)}"
            )
        self.transformations = tuple(transformations)

    def combine(self, call: Call) -> Tensor:
        images, size = call.inputs[0], call.inputs[0].shape[2:]
        there = [one.matrix(*size) for one in self.transformations]
        back = [matrix.inverse() for matrix in there]
        pairs = [(n, t) for n in range(len(images)) for t in range(len(there))]
        total = wide(torch.zeros_like(images[:, :1]))
        seen = torch.zeros_like(total)
        for part in self.chunks(len(pairs)):
            samples, which = zip(*(pairs[index] for index in part), strict=True)
            changed = _moved(images[list(samples)], torch.stack([there[t] for t in which]))
            maps = upsample(self.base.map_of(call.rows(changed, list(samples))), size)
            inverse = torch.stack([back[t] for t in which])
            shown = _moved(torch.ones_like(maps), inverse)
            index = torch.tensor(samples, device=images.device)
            total.index_add_(0, index, _moved(maps, inverse).to(total.dtype))
            seen.index_add_(0, index, shown.to(seen.dtype))
        return total / seen.where(seen > 0, 1)


def _moved(images: Tensor, matrices: Tensor) -> Tensor:
    grid = F.affine_grid(matrices[:, :2].to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
