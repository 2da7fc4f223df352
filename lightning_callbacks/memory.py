"""Recognise that memory ran out, and make explainers that need less memory."""

from copy import copy
from traceback import clear_frames

import torch

from captum_cams import CAMAttribution
from captum_cams.bases.wrapped import WrappedCAM


def is_memory(error: BaseException) -> bool:
    """Whether the error says that a device or the CPU has no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def free(error: BaseException) -> None:
    """Let go of the tensors that an error keeps alive: the local variables of the functions that it left."""
    left: BaseException | None = error
    while left is not None:
        clear_frames(left.__traceback__)
        left = left.__cause__ or left.__context__


def run_size(explainer: CAMAttribution) -> int:
    """The largest number of changed inputs that an explainer or its base runs at once."""
    own = getattr(explainer, "perturbations_per_eval", 1)
    return max(own, run_size(explainer.base)) if isinstance(explainer, WrappedCAM) else own


def lighter(explainer: CAMAttribution, divisor: int) -> CAMAttribution:
    """A copy that, like its base, runs fewer changed inputs at once, by the divisor; the maps are the same."""
    made = copy(explainer)
    if hasattr(made, "perturbations_per_eval"):
        made.perturbations_per_eval = max(1, made.perturbations_per_eval // divisor)
    if isinstance(made, WrappedCAM):
        made.base = lighter(made.base, divisor)
    return made
