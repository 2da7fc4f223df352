"""Sparseness and entropy of a map as pure functions: does it mark few pixels or many?"""

import torch
from torch import Tensor

from captum_cams.images import size_of, upsample
from captum_cams.metrics.functional.scoring import check_maps


def sparseness(inputs: Tensor, maps: Tensor) -> Tensor:
    """Compute how unequally a map distributes its values over the pixels: their Gini index.

    Chalasani et al., "Concise Explanations of Neural Networks using Adversarial Training", ICML 2020: the Gini index
    Σ_i (2i − n − 1)·v_i / (n·Σ_i v_i) of the n absolute values v_1 ≤ … ≤ v_n of the map.

    Args:
        inputs: images, N×C×H×W or N×H×W×C, or signals or volumes; only their size matters.
        maps: explanations, N×h×w or N×1×h×w; resized to the images by linear interpolation, before the absolute values
            are taken.

    Returns:
        N values, 0 if all pixels have the same magnitude, up to 1 − 1/n if only one pixel is not zero. Higher is
        sparser. A map of zeros counts as a constant map.

    Raises:
        CAMError: the shapes do not fit, the batch is empty, or the maps contain NaN or Inf.

    Example::

        print(metrics.sparseness(images, cc.GradCAM(model).attribute(images, labels)))
    """
    shares = _shares(inputs, maps).sort(1).values
    count = shares.shape[1]
    rank = torch.arange(1, count + 1, device=shares.device)
    return ((2 * rank - count - 1) * shares / count).sum(1).clamp(min=0).float()


def entropy(inputs: Tensor, maps: Tensor) -> Tensor:
    """Compute over how many pixels a map is spread: the entropy of their shares of the map.

    Bhatt et al., "Evaluating and Aggregating Feature-based Model Explanations", IJCAI 2020, where it is called
    complexity: −Σ_i p_i·ln p_i, where p_i is the absolute value of pixel i, divided by the sum of all absolute values.
    The exponential of the entropy is the number of equally bright pixels that would have the same entropy.

    Args:
        inputs: images, signals or volumes, as for :func:`sparseness`.
        maps: explanations of the inputs, as for :func:`sparseness`.

    Returns:
        N values in nats, from 0 if only one pixel is not zero to ln n if all n pixels have the same magnitude. Lower is
        simpler. A map of zeros counts as a constant map.

    Raises:
        CAMError: the shapes do not fit, the batch is empty, or the maps contain NaN or Inf.

    Example::

        nats = metrics.entropy(images, cc.GradCAM(model).attribute(images, labels))
        print(nats.exp())  # pixels
    """
    return torch.special.entr(_shares(inputs, maps)).sum(1).float()


def _shares(inputs: Tensor, maps: Tensor) -> Tensor:
    """The absolute value of each pixel as a share of their sum, N×pixels."""
    values = upsample(check_maps(inputs, maps), size_of(inputs)).abs().flatten(1).double()
    values = values.where(values.amax(1, keepdim=True) > 0, 1)
    return values / values.sum(1, keepdim=True)
