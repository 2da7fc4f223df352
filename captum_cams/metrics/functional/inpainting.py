"""Replace removed pixels by inpainting, through OpenCV."""

import torch
from torch import Tensor

from captum_cams.errors import CAMError, check_positive, shape_of
from captum_cams.extras import import_extra

_GREY_LEVELS = 255


def telea_inpainting(images: Tensor, removed_mask: Tensor, radius: float = 3.0) -> Tensor:
    """Replace removed pixels by what grows into them from their border, with the algorithm of Telea.

    Telea, "An Image Inpainting Technique Based on the Fast Marching Method", Journal of Graphics Tools 2004, as
    ``cv2.inpaint`` of OpenCV computes it: with 256 grey levels, here between the lowest and the highest value of each
    channel. This needs ``pip install "captum-cams[inpainting]"``.

    Args:
        images: N×C×H×W.
        removed_mask: N×1×H×W booleans, True for the pixels that are replaced, in all channels.
        radius: the pixels at most this far from a removed pixel decide its value.

    Returns:
        The changed images, with the shape and type of ``images``. The other pixels keep their values. If every pixel of
        an image is removed, the mean of each channel replaces them.

    Raises:
        CAMError: OpenCV is not installed, the shapes do not fit, or ``radius`` is not positive.

    Example::

        removed = torch.zeros(len(images), 1, *images.shape[2:], dtype=torch.bool)
        removed[..., 8:24, 8:24] = True
        filled = metrics.telea_inpainting(images, removed)
        assert filled.shape == images.shape
    """
    if images.ndim != 4 or removed_mask.shape != (len(images), 1, *images.shape[2:]):
        raise CAMError(
            f"images must be N×C×H×W and removed_mask must be N×1×H×W, got {shape_of(images)} and "
            f'{shape_of(removed_mask)}; for signals and volumes use the replacement "linear"'
        )
    check_positive("radius", radius)
    pairs = zip(images.detach().cpu().double(), removed_mask[:, 0].cpu(), strict=True)
    filled = torch.stack([_filled(image, removed, radius) for image, removed in pairs])
    return torch.where(removed_mask, filled.to(images), images)


def _filled(image: Tensor, removed: Tensor, radius: float) -> Tensor:
    """Fill one image C×H×W."""
    cv2 = import_extra("cv2", "inpainting", "Telea inpainting", ', or use the replacement "linear"')
    if bool(removed.all()):
        return image.mean((1, 2), keepdim=True).expand_as(image)
    low, high = image.amin((1, 2), keepdim=True), image.amax((1, 2), keepdim=True)
    level = torch.where(high > low, high - low, 1) / _GREY_LEVELS
    grey = ((image - low) / level).round().to(torch.uint8)
    mask = removed.to(torch.uint8).numpy()
    painted = [cv2.inpaint(channel.numpy(), mask, radius, cv2.INPAINT_TELEA) for channel in grey]
    return torch.stack([torch.from_numpy(channel) for channel in painted]) * level + low
