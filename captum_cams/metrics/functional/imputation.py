"""Replace removed pixels by what their neighbours say, so that a changed image still looks like an image."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu
from torch import Tensor

from captum_cams.engine.generators import generator_of
from captum_cams.engine.inputs import check_batch
from captum_cams.errors import CAMError, brief, check_finite, check_tensor, shape_of

_OUTSIDE, _KNOWN = -2, -1  # what the number of a pixel says if the pixel is not removed


def noisy_linear_imputation(
    images: Tensor, removed_mask: Tensor, noise: float = 0.01, generator: torch.Generator | None = None
) -> Tensor:
    """Replace removed pixels by a weighted mean of their neighbours, plus a little noise.

    Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods", ICML 2022. Each removed pixel
    equals the weighted mean of its eight neighbours: weight 1/6 for the four straight ones, and 1/12 for the four
    diagonal ones. Removed neighbours are unknown as well, so all removed pixels are solved together. At the border the
    mean takes the neighbours that exist. Signals and volumes have neighbours along each of their axes, with the weights
    (1, 2, 1) × … × (1, 2, 1), which are those of the paper for images.

    Args:
        images: N×C×H×W, or signals N×C×T, or volumes N×C×D×H×W. The equations are solved on the CPU in float64.
        removed_mask: N×1×H×W booleans, True for the pixels that are replaced, in all channels.
        noise: standard deviation of the Gaussian noise on the replaced pixels, in the units of the images.
        generator: the random generator on the CPU from which the noise is drawn; None always draws the same noise. All
            images of a call get the same noise, so that a batch gives what each image alone gives.

    Returns:
        The changed images, with the shape and type of ``images``. The other pixels keep their values. If every pixel of
        an image is removed, the equations do not decide its values, and the mean of each channel replaces them.

    Raises:
        CAMError: the shapes do not fit, the mask has no booleans, the images contain NaN or Inf, or noise is negative.

    Example::

        removed = torch.zeros(len(images), 1, *images.shape[2:], dtype=torch.bool)
        removed[..., 8:24, 8:24] = True
        filled = metrics.noisy_linear_imputation(images, removed)
        assert filled.shape == images.shape
    """
    _check(images, removed_mask, noise)
    field = torch.randn(images.shape[1:], generator=generator or generator_of(0), dtype=torch.float64)
    filled = [
        _filled(image, removed).add_(noise * field * removed)
        for image, removed in zip(images.detach().cpu().double(), removed_mask[:, 0].cpu(), strict=True)
    ]
    return torch.where(removed_mask, torch.stack(filled).to(images), images)


def _check(images: Tensor, removed_mask: Tensor, noise: Any) -> None:
    check_tensor("images", images, "N×C×H×W")
    check_tensor("removed_mask", removed_mask, "N×1×H×W")
    check_batch((images,))
    if not 3 <= images.ndim <= 5 or removed_mask.shape != (len(images), 1, *images.shape[2:]):
        raise CAMError(
            f"images must be N×C×H×W and removed_mask must be N×1×H×W, got {shape_of(images)} and "
            f"{shape_of(removed_mask)}; signals N×C×T and volumes N×C×D×H×W have masks with one channel, too"
        )
    if removed_mask.dtype != torch.bool:
        raise CAMError(
            f"removed_mask must have booleans, True for removed pixels, got {removed_mask.dtype}; pass removed_mask > 0"
        )
    if not isinstance(noise, int | float) or not 0 <= noise < float("inf"):
        raise CAMError(f"noise must be a standard deviation of at least 0, got {brief(noise)}; pass 0 for no noise")
    check_finite("images", images)


def _filled(image: Tensor, removed: Tensor) -> Tensor:
    """Solve the equations of one image C×H×W without noise: for each removed pixel, Σ w (pixel − neighbour) = 0."""
    count = int(removed.sum())
    if count == 0:
        return image.clone()
    if count == removed.numel():
        return image.flatten(1).mean(1).view(-1, *[1] * removed.ndim).expand_as(image).clone()
    numbers = torch.full(removed.shape, _KNOWN)
    numbers[removed] = torch.arange(count)
    border = [1, 1] * removed.ndim
    numbers = F.pad(numbers, border, value=_OUTSIDE)
    values = F.pad(image, border).flatten(1)
    strides = numbers.stride()
    numbers = numbers.flatten()
    pixels = (numbers >= 0).nonzero()[:, 0]
    diagonal = torch.zeros(count, dtype=torch.float64)
    sides = torch.zeros(count, len(image), dtype=torch.float64)
    entries: list[tuple[Tensor, Tensor, Tensor]] = []
    for offset, weight in _neighbours(removed.ndim):
        neighbours = pixels + sum(step * stride for step, stride in zip(offset, strides, strict=True))
        number = numbers[neighbours]
        diagonal += weight * (number != _OUTSIDE).double()
        sides += weight * (values[:, neighbours] * (number == _KNOWN)).T
        rows = (number >= 0).nonzero()[:, 0]
        entries.append((rows, number[rows], torch.full(rows.shape, -weight, dtype=torch.float64)))
    own = torch.arange(count)
    rows, columns, weights = (torch.cat(parts) for parts in zip(*entries, (own, own, diagonal), strict=True))
    matrix = csc_matrix((weights.numpy(), (rows.numpy(), columns.numpy())), shape=(count, count))
    # The matrix is symmetric, and its diagonal is dominant: this order of the columns keeps the factors small.
    factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    result = image.clone()
    result[:, removed] = torch.from_numpy(factors.solve(sides.numpy())).T
    return result


def _neighbours(axes: int) -> Iterator[tuple[tuple[int, ...], float]]:
    """Each neighbour of a pixel, as steps along the axes, and its weight; all weights add up to 1."""
    total = 4**axes - 2**axes
    for offset in product((-1, 0, 1), repeat=axes):
        if any(offset):
            yield offset, 2.0 ** offset.count(0) / total
