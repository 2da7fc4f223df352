"""Targets that are functions of the model's output, and the proof that they score every row on its own."""

from collections.abc import Callable, Iterable, MutableMapping
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.engine.targets import wide
from captum_cams.errors import CAMError, shape_of

_REMEDY = (
    "a target that is a function is called with outputs of any number of rows and must score each row on its own: "
    "for scores that differ from sample to sample (labels, weights or boxes of the batch) pass a list of functions, "
    "one per sample"
)


def composed(model: Callable[..., Any], target: Callable[[Any], Tensor]) -> Callable[..., Tensor]:
    """The model followed by a function of its output; the whole gives one score per sample, N.

    Later runs hold changed versions of single samples, in any number. So the function is tried on the rows of the
    first output in another order, one of them twice: each row must keep its score.
    """
    proven = False

    def scores(*args: Any, **kwargs: Any) -> Tensor:
        nonlocal proven
        output, rows = model(*args, **kwargs), len(args[0])
        reordered = None if proven else _reordered(output, rows)
        found = _called(target, output, rows)
        if not isinstance(found, Tensor) or found.shape != (rows,):
            got = shape_of(found) if isinstance(found, Tensor) else type(found).__name__
            raise CAMError(
                f"a target that is a function must give one score per sample, expected {rows}, got {got}; {_REMEDY}"
            )
        if not proven:
            _check_rows(target, reordered, found.detach())
            proven = True
        return found

    return scores


def _called(target: Callable[[Any], Tensor], output: Any, rows: int) -> Any:
    try:
        return target(output)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raised = f"{type(error).__name__}: {error}"
        raise CAMError(f"{_REMEDY} (for an output of {rows} rows it raised {raised})") from error


def _check_rows(target: Callable[[Any], Tensor], reordered: Any, scores: Tensor) -> None:
    """Raise unless the function gives the rows of ``reordered`` the scores that they have."""
    expected = wide(torch.cat((scores.flip(0), scores[:1])))
    with torch.no_grad():
        found = _called(target, reordered, len(expected))
    if not isinstance(found, Tensor) or found.shape != expected.shape:
        got = shape_of(found) if isinstance(found, Tensor) else type(found).__name__
        raise CAMError(f"{_REMEDY} (expected {len(expected)} scores for {len(expected)} rows, got {got})")
    eps = torch.finfo(scores.dtype if scores.is_floating_point() else torch.float32).eps
    bound = max(1e-5, 2 * eps) * expected.abs().max()
    if not torch.allclose(wide(found.detach()), expected, rtol=0, atol=float(bound.nan_to_num(0)), equal_nan=True):
        raise CAMError(f"{_REMEDY} (the same rows in another order got other scores)")


def _reordered(output: Any, rows: int) -> Any:
    """The output with its rows backwards and the first one once more: rows + 1."""
    for axes in (lambda tensor: [0], lambda tensor: range(tensor.ndim)):
        found, taken = _take(output, rows, axes)
        if taken:
            return found
    raise CAMError(
        f"a target that is a function needs an output of tensors with one row per sample, in dicts, lists and tuples "
        f"if need be, got {type(output).__name__}; wrap the model in a module that returns such"
    )


def _take(value: Any, rows: int, axes: Callable[[Tensor], Any]) -> tuple[Any, bool]:
    order = [*range(rows - 1, -1, -1), 0]
    if isinstance(value, Tensor):
        axis = next((axis for axis in axes(value) if axis < value.ndim and value.shape[axis] == rows), None)
        if axis is None:
            return value, False
        return value.detach().index_select(axis, torch.tensor(order, device=value.device)), True
    if isinstance(value, list | tuple):
        parts, taken = _take_each(value, rows, axes)
        if isinstance(value, list) and len(value) == rows and not (taken and all(map(torch.is_tensor, value))):
            return [value[index] for index in order], True  # one entry per sample, as detectors give
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts), taken
    if isinstance(value, MutableMapping):
        made = copy(value)
        parts, taken = _take_each(value.values(), rows, axes)
        for key, part in zip(list(value), parts, strict=True):
            made[key] = part
        return made, taken
    if hasattr(value, "__dict__") and not isinstance(value, nn.Module):
        made = copy(value)
        parts, taken = _take_each(vars(value).values(), rows, axes)
        vars(made).update(zip(vars(value), parts, strict=True))
        return made, taken
    return value, False


def _take_each(values: Iterable[Any], rows: int, axes: Callable[[Tensor], Any]) -> tuple[list[Any], bool]:
    found = [_take(value, rows, axes) for value in values]
    return [part for part, _ in found], any(taken for _, taken in found)
