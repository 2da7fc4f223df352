"""AugmentedCAM and the transformations that it averages over."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, inf, radians, sin
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as colours

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.variants import VariantsCAM
from captum_cams.cost import Cost, named
from captum_cams.engine.call import Call
from captum_cams.engine.targets import wide
from captum_cams.errors import CAMError, brief, shape_of
from captum_cams.images import upsample
from captum_cams.paper import Paper
from captum_cams.registry import register
from captum_cams.relevance.propagation import Propagation, Range


@dataclass(frozen=True)
class Transformation:
    """Describes a change of the image: of its intensities, and an invertible change of its plane.

    The intensities, in [0, 1], change first: contrast, gamma, equalisation, adaptive filter. Then comes the flip, then
    scaling and rotation around the centre, then the shift. A map is carried back from the change of the plane; a change
    of intensities leaves everything in its place.

    Args:
        flip: True mirrors left and right.
        angle: rotation in degrees, clockwise.
        scale: factor above 0; a factor above 1 enlarges.
        shift: to the right and down, as shares of the width and the height.
        contrast: factor, at least 0, of the distances from the mean grey; needs one or three channels.
        gamma: exponent of the intensities, above 0; below 1 brightens.
        equalise: True flattens the histogram of each channel, in 256 steps.
        window: side in pixels, odd, of the adaptive filter, the local Wiener filter as in ``scipy.signal.wiener``: it
            smooths where the variance in the window is below its mean over the image, and keeps edges. 1 leaves it out.

    Raises:
        CAMError: ``contrast``, ``gamma`` or ``window`` is out of its range.

    Example::

        turned = cc.Transformation(angle=30.0, scale=1.2)
        darker = cc.Transformation(gamma=1.4)
        cam = cc.AugmentedCAM(model, "layer4", transformations=[cc.Transformation(), turned, darker])
    """

    flip: bool = False
    angle: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    contrast: float = 1.0
    gamma: float = 1.0
    equalise: bool = False
    window: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.contrast < inf:
            raise CAMError(f"contrast must be a factor of at least 0, got {brief(self.contrast)}; 1 changes nothing")
        if not 0 < self.gamma < inf:
            raise CAMError(f"gamma must be an exponent above 0, got {brief(self.gamma)}; 1 changes nothing")
        if type(self.window) is not int or self.window < 1 or self.window % 2 == 0:
            raise CAMError(f"window must be an odd number of pixels, got {brief(self.window)}; 1 leaves the filter out")

    @property
    def recolours(self) -> bool:
        """Whether it changes the intensities."""
        return (self.contrast, self.gamma, self.equalise, self.window) != (1, 1, False, 1)

    def recoloured(self, image: Tensor) -> Tensor:
        """Changes the intensities of an image.

        Args:
            image: C×H×W in [0, 1].

        Returns:
            The changed image, C×H×W in [0, 1].

        Raises:
            CAMError: the contrast of an image with another number of channels than one or three is changed.

        Example::

            bright = cc.Transformation(gamma=0.5).recoloured(torch.rand(3, 64, 64))
        """
        if self.contrast != 1:
            if image.shape[0] not in (1, 3):
                raise CAMError(f"contrast needs images with one or three channels, got {shape_of(image)}; use gamma")
            image = colours.adjust_contrast(image, self.contrast)
        if self.gamma != 1:
            image = colours.adjust_gamma(image, self.gamma)
        if self.equalise:
            image = colours.equalize(image)
        return image if self.window == 1 else _filtered(image, self.window)

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
ROUNDING = 0.01
"""How far intensities may leave [0, 1], which a normalisation in half precision does."""
INTENSITY = (
    *(Transformation(contrast=contrast) for contrast in (0.7, 1.4)),
    *(Transformation(gamma=gamma) for gamma in (0.7, 1.4)),
    Transformation(equalise=True),
    Transformation(window=5),
)


@register
class AugmentedCAM(VariantsCAM):
    """Shows what the base finds on average over changes of the image: shifts, rotations, scalings, flips, intensities.

    After Oh et al. 2021: map = Σ_t T_t⁻¹(up(M(T_t x))) / Σ_t T_t⁻¹(1). The base explains each transformed image, its
    map is transformed back, and each position is averaged over the images that show it. The result has the size of
    the image, N×1×H×W.

    Args:
        transformations: what is done to the image, a list of :class:`Transformation`. The default has ten: no change, a
            flip, four shifts by a tenth, two rotations by 15° and two scalings by a tenth. ``PLANE + INTENSITY`` of
            this module adds two contrasts, two gammas, equalisation and the adaptive filter.
        pixel_range: the values (low, high) that stand for the intensities 0 and 1: numbers, or one value per channel,
            such as (0 − mean) / std and (1 − mean) / std of a normalisation. None takes the lowest and highest value of
            each image over all channels. Only changes of intensities read it.
        **options: see :class:`VariantsCAM`.

    Raises:
        CAMError: ``transformations`` is empty or holds anything but transformations with ``scale`` > 0, or
            ``pixel_range`` is not (low, high) with low < high; in a call, if a pixel is not in this range.

    Example::

        flips = [cc.Transformation(), cc.Transformation(flip=True)]
        cam = cc.AugmentedCAM(model, "layer4", base="gradcam", transformations=flips)
        maps = cam.attribute(images, labels)  # 2×1×64×64
    """

    title = "Augmented {base}"
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
        pixel_range: Range | None = None,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, base=base, **options)
        known = [isinstance(item, Transformation) and item.scale > 0 for item in transformations]
        if not known or not all(known):
            raise CAMError(
                f"transformations must be a list of Transformation(…) with scale > 0, got {brief(transformations)}; "
                "leave the argument out for the default"
            )
        Propagation(pixel_range=pixel_range)  # raises an error if it does not fit
        self.transformations, self.pixel_range = tuple(transformations), pixel_range

    def combine(self, call: Call) -> Tensor:
        images, size = call.inputs[0], call.inputs[0].shape[2:]
        forward = [transformation.matrix(*size) for transformation in self.transformations]
        back = [matrix.inverse() for matrix in forward]
        pairs = [(n, t) for n in range(len(images)) for t in range(len(forward))]
        total = wide(torch.zeros_like(images[:, :1]))
        count = torch.zeros_like(total)
        for part in self.chunks(len(pairs)):
            samples, which = zip(*(pairs[index] for index in part), strict=True)
            recoloured = torch.stack([self._recoloured(images[n], t) for n, t in zip(samples, which, strict=True)])
            changed = _transformed(recoloured, torch.stack([forward[t] for t in which]))
            maps = upsample(self.base.map_of(call.rows(changed, list(samples))), size)
            inverse = torch.stack([back[t] for t in which])
            shown = _transformed(torch.ones_like(maps), inverse)
            index = torch.tensor(samples, device=images.device)
            total.index_add_(0, index, _transformed(maps, inverse).to(total.dtype))
            count.index_add_(0, index, shown.to(count.dtype))
        return total / count.where(count > 0, 1)

    def _recoloured(self, image: Tensor, index: int) -> Tensor:
        """The image C×H×W with the intensities of a transformation, in the values that the model reads."""
        transformation = self.transformations[index]
        if not transformation.recolours:
            return image
        pixels = wide(image)
        if self.pixel_range is None:
            low, high = pixels.amin(), pixels.amax()
        else:
            low, high = (torch.as_tensor(bound).to(pixels).view(-1, 1, 1) for bound in self.pixel_range)
        span = torch.where(high > low, high - low, 1)
        intensities = (pixels - low) / span
        if float(intensities.min()) < -ROUNDING or float(intensities.max()) > 1 + ROUNDING:
            raise CAMError(
                f"pixels must lie in pixel_range, got {float(pixels.min()):.3g} to {float(pixels.max()):.3g} for "
                f"{brief(self.pixel_range)}; pass the range of the images, or None for that of each image"
            )
        return (transformation.recoloured(intensities.clamp(0, 1)) * span + low).to(image.dtype)


def _transformed(images: Tensor, matrices: Tensor) -> Tensor:
    grid = F.affine_grid(matrices[:, :2].to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def _filtered(image: Tensor, window: int) -> Tensor:
    """Filter each channel of C×H×W: m + max(0, 1 − v̄/v)·(x − m), with mean m and variance v in the window."""
    padded = F.pad(image[None], [window // 2] * 4, mode="replicate")
    mean = F.avg_pool2d(padded, window, 1)[0]
    variance = (F.avg_pool2d(padded**2, window, 1)[0] - mean**2).clamp(min=0)  # rounding may make it negative
    noise = variance.mean((1, 2), keepdim=True)
    kept = torch.where(variance > noise, 1 - noise / variance, 0)
    return mean + kept * (image - mean)
