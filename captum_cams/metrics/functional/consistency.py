"""Consistency as pure functions: do the maps of one class mark the same places in all images?"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from captum_cams.engine.targets import wide
from captum_cams.errors import CAMError, brief, check_finite, check_tensor, shape_of
from captum_cams.images import minmax, upsample

PIXELS = 64
"""The number of pixels of a thumbnail: so few that the rows of 50,000 images and five methods fit on the disk."""
_SIZES: dict[int, tuple[int, ...]] = {1: (64,), 2: (8, 8), 3: (4, 4, 4)}
"""The sizes of the thumbnails of signals, images and volumes."""
_POOL: dict[int, Callable[..., Tensor]] = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
_AT_ONCE = 1024
"""Maps that are compared with all maps of their class at once, so that large classes need little memory."""


def consistency(maps: Tensor, classes: Tensor | Sequence[int]) -> Tensor:
    """Compute how similar each map is to the maps of the other images with the same class.

    It is the mean of the soft intersection over union Σ min(a, b) / Σ max(a, b) of the map with each of the other maps
    of its class. Both are reduced to thumbnails (:func:`thumbnails`). Elangovan and Ting, "Quantifying Explanation
    Consistency: The C-Score Metric", 2026 (arXiv 2604.08502), compare maps of one class with a soft intersection over
    union, too; here every image has the same weight, whatever the confidence of the model, and all images count, not
    only those that are classified correctly.

    A high value does not show that a map is right: a map that ignores the image, such as
    :class:`captum_cams.Centre`, reaches 1. Read it as the trend of one method over the training of a model, or for
    images in which the object has a fixed place, such as X-rays.

    Args:
        maps: explanations, N×h×w or N×1×h×w; N×1×t for signals, N×1×d×h×w for volumes.
        classes: the explained class of each map, N.

    Returns:
        N values, 0 to 1, higher is better; NaN if no other map has the same class. A constant map is similar to no map.

    Raises:
        CAMError: the shapes do not fit, the batch is empty, or the maps contain NaN or Inf.

    Example::

        maps = cc.GradCAM(model).attribute(images, target=3)
        print(metrics.consistency(maps, [3, 3]))  # both have the same value
    """
    return class_overlap(thumbnails(maps), check_classes(classes, len(maps)))


def thumbnails(maps: Tensor) -> Tensor:
    """Reduce each map to a grey picture of 64 pixels with 256 levels.

    Coarser maps are resized by linear interpolation, finer maps by averages. Whole numbers keep the records of an
    evaluation small, and their sums are exact in every order.

    Args:
        maps: explanations, as for :func:`consistency`.

    Returns:
        N×64 whole numbers, 0 to 255, as float32: 8×8 pixels of an image, 64 of a signal, 4×4×4 of a volume. A
        constant map becomes zero.

    Raises:
        CAMError: the maps have other axes, there are none, or they contain NaN or Inf.
    """
    check_tensor("maps", maps, "N×h×w or N×1×h×w")
    full = maps[:, None] if maps.ndim == 3 and maps.shape[1] != 1 else maps
    if full.ndim not in (3, 4, 5) or full.shape[1] != 1 or not full.numel():
        raise CAMError(
            "maps must be N×h×w or N×1×h×w (N×1×t for signals, N×1×d×h×w for volumes), at least one, got "
            f"{shape_of(maps)}; if the maps have several channels, sum over the channels"
        )
    check_finite("maps", maps)
    full = wide(full.detach())
    axes, dims = full.ndim - 2, tuple(range(2, full.ndim))
    finer = [max(sides) for sides in zip(full.shape[2:], _SIZES[axes], strict=True)]
    small = _POOL[axes](upsample(minmax(full, dims), finer), _SIZES[axes])
    return (255 * minmax(small, dims)).round().flatten(1).float()


def class_overlap(small: Tensor, classes: Tensor) -> Tensor:
    """Compute the mean soft intersection over union of each thumbnail with the others of its class.

    Args:
        small: thumbnails, R×64, as :func:`thumbnails` returns them.
        classes: the class of each thumbnail, R.

    Returns:
        R values, 0 to 1; NaN if no other thumbnail has the same class.
    """
    small = small.float()
    found = small.new_full((len(small),), torch.nan)
    for index in classes.unique():
        mine = classes == index
        found[mine] = _overlap(small[mine])
    return found


def check_classes(classes: Tensor | Sequence[int], count: int) -> Tensor:
    """The classes as a tensor, or an error unless there is one for each of ``count`` maps."""
    given = classes if isinstance(classes, Tensor) else torch.tensor(classes)
    if given.shape != (count,) or given.is_floating_point() or given.is_complex():
        raise CAMError(
            f"classes must be one integer for each of the {count} maps, got {brief(classes)}; pass the classes that "
            "the maps explain"
        )
    return given


def _overlap(small: Tensor) -> Tensor:
    """The mean soft intersection over union of each thumbnail with all others; NaN if there are no others."""
    whole, sums = small.sum(1), list[Tensor]()
    for some, total in zip(small.split(_AT_ONCE), whole.split(_AT_ONCE), strict=True):
        # Σ min and Σ max are (Σ a + Σ b ∓ Σ |a − b|) / 2: one call instead of two tensors of R×R×64.
        both, apart = total[:, None] + whole, torch.cdist(some, small, p=1)
        sums.append(((both - apart) / (both + apart).clamp(min=1)).double().sum(1))
    itself = (whole > 0).double()  # with itself a map overlaps wholly, unless it is zero
    return ((torch.cat(sums) - itself) / (len(small) - 1)).clamp(0, 1).to(small.dtype)
