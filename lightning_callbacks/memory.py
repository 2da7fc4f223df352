"""What is done where a device, or the CPU, has no memory left."""

from copy import copy

import torch

from captum_cams import CAMAttribution
from captum_cams.bases.wrapped import WrappedCAM


def is_memory(error: BaseException) -> bool:
    """Whether a device, or the CPU, had no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def run_size(explainer: CAMAttribution) -> int:
    """How many changed inputs an explainer or its base runs at once, at most."""
    own = getattr(explainer, "perturbations_per_eval", 1)
    return max(own, run_size(explainer.base)) if isinstance(explainer, WrappedCAM) else own


def lighter(explainer: CAMAttribution, divisor: int) -> CAMAttribution:
    """A copy that runs so many times fewer changed inputs at once, as does its base; the maps are the same."""
    made = copy(explainer)
    if hasattr(made, "perturbations_per_eval"):
        made.perturbations_per_eval = max(1, made.perturbations_per_eval // divisor)
    if isinstance(made, WrappedCAM):
        made.base = lighter(made.base, divisor)
    return made
