"""AugmentedCAM and the transformations that it averages over."""

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
    """Describes an invertible change of the image plane.

    The flip comes first, then scaling and rotation around the centre, then the shift.

    Args:
        flip: True mirrors left and right.
        angle: rotation in degrees, clockwise.
        scale: factor above 0; a factor above 1 enlarges.
        shift: to the right and down, as shares of the width and the height.

    Example::

        turned = cc.Transformation(angle=30.0, scale=1.2)
        cam = cc.AugmentedCAM(model, "layer4", transformations=[cc.Transformation(), turned])
    """

    flip: bool = False
    angle: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    def matrix(self, height: int, width: int) -> Tensor:
        """Tells which position of an image each position of the transformed image shows.

        Args:
            height: of the image, in pixels.
            width: of the image, in pixels.

        Returns:
            The 3×3 matrix from homogeneous coordinates (x, y, 1) of the transformed image to those of the image, where
            x and y run from −1 to 1.

        Example::

            matrix = cc.Transformation(flip=True).matrix(64, 64)  # −1, 1, 1 on the diagonal
        """
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
    """Shows what the base finds on average over shifts, rotations, scalings and flips of the image.

    After Oh et al. 2021: map = Σ_t T_t⁻¹(up(M(T_t x))) / Σ_t T_t⁻¹(1). The base explains each transformed image, its
    map is transformed back, and each position is averaged over the images that show it. The result has the size of
    the image, N×1×H×W.

    Args:
        transformations: what is done to the image, a list of :class:`Transformation`. The default has ten: no change, a
            flip, four shifts by a tenth, two rotations by 15° and two scalings by a tenth.
        **options: see :class:`VariantsCAM`.

    Raises:
        CAMError: ``transformations`` is empty or holds anything but transformations with ``scale`` > 0.

    Example::

        flips = [cc.Transformation(), cc.Transformation(flip=True)]
        cam = cc.AugmentedCAM(model, "layer4", base="gradcam", transformations=flips)
        maps = cam.attribute(images, labels)  # 2×1×64×64
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
        known = [isinstance(item, Transformation) and item.scale > 0 for item in transformations]
        if not known or not all(known):
            raise CAMError(
                f"transformations must be a list of Transformation(…) with scale > 0, got {brief(transformations)}; "
                "leave the argument out for the default"
            )
        self.transformations = tuple(transformations)

    def combine(self, call: Call) -> Tensor:
        images, size = call.inputs[0], call.inputs[0].shape[2:]
        forward = [transformation.matrix(*size) for transformation in self.transformations]
        back = [matrix.inverse() for matrix in forward]
        pairs = [(n, t) for n in range(len(images)) for t in range(len(forward))]
        total = wide(torch.zeros_like(images[:, :1]))
        count = torch.zeros_like(total)
        for part in self.chunks(len(pairs)):
            samples, which = zip(*(pairs[index] for index in part), strict=True)
            changed = _transformed(images[list(samples)], torch.stack([forward[t] for t in which]))
            maps = upsample(self.base.map_of(call.rows(changed, list(samples))), size)
            inverse = torch.stack([back[t] for t in which])
            shown = _transformed(torch.ones_like(maps), inverse)
            index = torch.tensor(samples, device=images.device)
            total.index_add_(0, index, _transformed(maps, inverse).to(total.dtype))
            count.index_add_(0, index, shown.to(count.dtype))
        return total / count.where(count > 0, 1)


def _transformed(images: Tensor, matrices: Tensor) -> Tensor:
    grid = F.affine_grid(matrices[:, :2].to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
