"""Make images that a display can show."""

from collections.abc import Sequence

import torch
from torch import Tensor

from captum_cams.errors import CAMError, check_finite, check_tensor, shape_of
from captum_cams.images import look_channels_last, minmax


def displayable(images: Tensor, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> Tensor:
    """Make images that a display can show from images that a model takes.

    Args:
        images: N×C×H×W, N×H×W×C with one, three or four channels, or volumes or clips N×C×D×H×W. Images with three
            channels keep their colours; otherwise the mean over the channels is shown in grey.
        mean: the mean that the normalisation subtracted, one value for each channel. With ``mean`` and ``std``, the
            normalisation is undone; without them, each image is scaled to its own minimum and maximum.
        std: the standard deviation that the normalisation divided by, one value for each channel.

    Returns:
        The images with three channels, in [0, 1], on the CPU.

    Raises:
        CAMError: the images do not have four or five dimensions or contain NaN or Inf, only one of ``mean`` and ``std``
            is given, or their length is not the number of channels.

    Example::

        from captum_cams import visual

        shown = visual.displayable(images, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
        assert 0 <= shown.min() and shown.max() <= 1
    """
    check_tensor("images", images, "N×C×H×W")
    if images.ndim not in (4, 5):
        remedy = "; signals have no picture, so draw the heat map as a line" if images.ndim == 3 else ""
        raise CAMError(f"images must be N×C×H×W, or volumes N×C×D×H×W, got {shape_of(images)}{remedy}")
    if (mean is None) != (std is None):
        raise CAMError("mean and std must be given together, got only one; pass both, or neither")
    check_finite("images", images)
    images = images.movedim(-1, 1) if look_channels_last(images) else images
    images = images.detach().float().cpu()
    if mean is not None and std is not None:
        if {len(mean), len(std)} - {1, images.shape[1]}:
            raise CAMError(
                f"mean and std must have a value for each of {images.shape[1]} channels, got {len(mean)} and {len(std)}"
            )
        shape = (1, -1, *[1] * (images.ndim - 2))
        images = (images * torch.tensor(std).view(shape) + torch.tensor(mean).view(shape)).clamp(0, 1)
    else:
        images = minmax(images, tuple(range(1, images.ndim)))
    if images.shape[1] != 3:
        images = images.mean(1, keepdim=True).expand(-1, 3, *images.shape[2:])
    return images
