"""Captum's forms of ``target``, checked and brought to one index per sample."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_cams.errors import CAMError, shape_of

Index = tuple[int, ...]


def composed(model: Callable[..., Any], target: Callable[[Any], Tensor]) -> Callable[..., Tensor]:
    """The model followed by a function of its output; the whole gives one score per sample, N."""

    def scores(*args: Any, **kwargs: Any) -> Tensor:
        found = target(model(*args, **kwargs))
        rows = len(args[0])
        if not isinstance(found, Tensor) or found.shape != (rows,):
            got = shape_of(found) if isinstance(found, Tensor) else type(found).__name__
            raise CAMError(f"a target that is a function must give one score per sample, expected {rows}, got {got}")
        return found

    return scores


def check_output(output: Any, samples: int) -> Tensor:
    """Raise unless the model's output is a finite-shaped tensor with one row per sample."""
    if not isinstance(output, Tensor):
        raise CAMError(
            f"the model must return one tensor of scores, got {type(output).__name__}; "
            "wrap it in a module whose forward returns the scores"
        )
    if output.ndim == 0 or output.shape[0] != samples:
        raise CAMError(
            f"the model must return one row per sample, expected {samples} rows, got {shape_of(output)}; "
            "is the batch axis first?"
        )
    return output


def resolve_target(target: Any, output: Tensor) -> list[Index]:
    """One index into each sample's output; ``None`` stands for the predicted class.

    Accepted are Captum's forms: an int, a tuple of ints, a tensor with one or N integers, a list of N ints
    or of N tuples.

    Raises:
        CAMError: wrong type or length, an index out of range, or an index that leaves more than one score.
    """
    samples, shape = output.shape[0], output.shape[1:]
    if target is None:
        if output.ndim > 2:
            raise CAMError(
                f"target=None explains the predicted class of an N×classes output, got {shape_of(output)}; "
                "pass a target that names one score per sample"
            )
        return [(c,) for c in output.argmax(1).tolist()] if output.ndim == 2 else [()] * samples
    if isinstance(target, Tensor):
        if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
            raise CAMError(f"target must hold integers, got a tensor of {target.dtype}; use .long()")
        if target.ndim > 1 and target.numel() != 1:
            raise CAMError(f"target must be a scalar or one value per sample, got {shape_of(target)}")
        target = target.item() if target.numel() == 1 else target.tolist()
    if isinstance(target, list) and len(target) != samples:
        raise CAMError(f"target must be one per sample, expected {samples}, got {len(target)}")
    each = target if isinstance(target, list) else [target] * samples
    return [_check_index(one, shape) for one in each]


def _check_index(target: Any, shape: torch.Size) -> Index:
    index = target if isinstance(target, tuple) else (target,)
    if not all(isinstance(i, int) and not isinstance(i, bool) for i in index):
        raise CAMError(f"target must be an integer or a tuple of integers, got {target!r}")
    if len(index) != len(shape):
        row = "×".join(map(str, ("N", *shape)))
        raise CAMError(
            f"target must leave one score per sample, got {target!r} for an output {row}: "
            f"an int needs an N×classes output, this one needs {len(shape)} indices"
        )
    for i, size in zip(index, shape, strict=True):
        if not -size <= i < size:
            raise CAMError(f"target must be in 0…{size - 1}, got {target!r}; does the model have this class?")
    return tuple(i % size for i, size in zip(index, shape, strict=True))


def score_of(output: Tensor, index: Index, score: str = "logit") -> Tensor:
    """One sample's target in every row of ``output``, as it is ("logit") or after softmax ("probability").

    Scores that stand alone, N, have no softmax and are taken as they are.
    """
    output = wide(output)
    key: tuple[slice | int, ...] = (slice(None), *index)
    return (output.softmax(1) if score == "probability" and output.ndim > 1 else output)[key]


def wide(tensor: Tensor) -> Tensor:
    """Half precision as float32, everything else as it is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
