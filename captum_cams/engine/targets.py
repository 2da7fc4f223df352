"""Check Captum's forms of ``target`` and convert them to one index per sample."""

import math
from typing import Any

import torch
from torch import Tensor

from captum_cams.errors import CAMError, brief, shape_of

Index = tuple[int, ...]


def check_output(output: Tensor, samples: int) -> Tensor:
    """Return the model's output, or raise a CAMError unless it has one row per sample."""
    if output.ndim == 0 or output.shape[0] != samples:
        raise CAMError(
            f"the model must return one row per sample, expected {samples} rows, got {shape_of(output)}; "
            "is the batch axis first?"
        )
    return output


def resolve_target(target: Any, output: Tensor) -> list[Index]:
    """Convert a target to one index into each sample's output.

    Args:
        target: None for the predicted class, or one of Captum's forms: an int, a tuple of ints, a tensor with one
            or N integers, a list of N ints or of N tuples. NumPy integers and arrays are accepted as well. Negative
            indices are refused: Captum counts them from the end, but a label of −1 often means that there is no label.
        output: the scores, one row per sample.

    Returns:
        N indices.

    Raises:
        CAMError: if the type or the length is wrong, an index is out of range, or an index selects more than one
            score.
    """
    samples, shape = output.shape[0], output.shape[1:]
    if target is None:
        if output.ndim > 2:
            raise CAMError(
                f"target=None explains the predicted class of an N×classes output, got {shape_of(output)}; "
                "pass a target that names one score per sample, such as captum_cams.targets.Segmentation(2)"
            )
        return [(c,) for c in output.argmax(1).tolist()] if output.ndim == 2 else [()] * samples
    target = plain_target(target)
    if isinstance(target, list) and len(target) != samples:
        raise CAMError(f"target must hold one entry per sample, expected {samples}, got {len(target)}")
    each = [plain_target(entry) for entry in target] if isinstance(target, list) else [target] * samples
    return [_check_index(entry, shape, samples) for entry in each]


def plain_target(target: Any) -> Any:
    """Convert tensors, NumPy arrays and NumPy numbers to Python numbers and lists; return other values unchanged.

    Raises:
        CAMError: if a tensor does not hold integers, or has more than one axis.
    """
    if isinstance(target, Tensor) and (target.is_floating_point() or target.is_complex()):
        remedy = "for scores or one-hot rows pass .argmax(1)" if target.ndim > 1 else "use .long()"
        raise CAMError(f"target must hold integers, got a tensor of {target.dtype}; {remedy}")
    if hasattr(target, "tolist"):
        if target.ndim > 1 and math.prod(target.shape) != 1:
            got = "×".join(map(str, target.shape))
            raise CAMError(
                f"target must be a scalar or one value per sample, got {got}; for one-hot rows pass .argmax(1)"
            )
        return target.item() if math.prod(target.shape) == 1 else target.tolist()
    return tuple(map(plain_target, target)) if isinstance(target, tuple) else target


def _check_index(target: Any, shape: torch.Size, samples: int) -> Index:
    index = target if isinstance(target, tuple) else (target,)
    if not all(isinstance(i, int) and not isinstance(i, bool) for i in index):
        raise CAMError(f"target must be {_form(target)}")
    if len(index) != len(shape):
        row = "×".join(map(str, ("N", *shape)))
        remedy = f"; pass a list for one target per sample: {brief([*index])}" if len(index) == samples > 1 else ""
        if len(shape) == 3 and len(index) == 1:
            remedy = f"; for segmentation, pass captum_cams.targets.Segmentation({index[0]})"
        elif not shape:
            remedy = '; pass target=None, or task="binary" for one logit or task="regression" for a value'
        raise CAMError(
            f"target must select one score per sample, got {brief(target)} for an output {row}: "
            f"an int needs an N×classes output, and this output needs {len(shape)} indices{remedy}"
        )
    for i, size in zip(index, shape, strict=True):
        if not 0 <= i < size:
            remedy = "does the model have this class?" if size > 1 else 'pass task="binary" if this score is a logit'
            if -size <= i < 0:
                remedy = f"a label of {i} often means no label, so it is not counted from the end: pass {i + size}"
            raise CAMError(f"target must be in 0…{size - 1}, got {brief(target)}; {remedy}")
    return tuple(index)


def _form(target: Any) -> str:
    if isinstance(target, str):
        return (
            f"the index of a class, an integer, got the name {brief(target)}; pass classes.index({brief(target)}) with "
            "the list of the model's class names"
        )
    if isinstance(target, tuple) and any(map(callable, target)):
        return "one function, or a list with one function per sample, got a tuple; pass a list"
    return f"an integer or a tuple of integers, got {brief(target)}; pass a list or a tensor for one target per sample"


def wide(tensor: Tensor) -> Tensor:
    """Convert half precision to float32; return other tensors unchanged."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
