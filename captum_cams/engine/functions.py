"""Targets that are functions of the model's output, and the check that they score each row independently."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, MutableMapping
from copy import copy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from captum_cams.engine.targets import wide
from captum_cams.errors import CAMError, shape_of

_REMEDY = (
    "a target that is a function must accept any number of rows and score each row independently of the others; "
    "if the score differs from sample to sample (labels, weights or boxes of the batch), pass a list of functions, "
    "one per sample"
)


class SampleTarget(ABC):
    """A target that must see the unchanged sample before it can score changed versions of it.

    Each sample is then explained on its own, with the function that :meth:`bound` makes for it.
    """

    names_places: ClassVar[bool] = False
    """Whether the target names places of the image, which a shifted or resized image has elsewhere."""

    @abstractmethod
    def bound(self, network: Callable[[Tensor], Any], image: Tensor) -> Callable[[Any], Tensor]:
        """Look at the unchanged sample, and return the function that scores this sample and changed versions of it.

        Args:
            network: gives the output of the model for one image, 1×C×H×W, with the other inputs of the sample.
            image: the unchanged image, 1×C×H×W.

        Raises:
            CAMError: if the target does not fit the image or what the model sees in it.
        """


def composed(model: Callable[..., Any], target: Callable[[Any], Tensor]) -> Callable[..., Tensor]:
    """Join the model and a function of its output into one callable that returns one score per sample, N.

    Later runs contain any number of changed versions of a single sample. So in the first run the function is also
    called with the rows in another order and one row twice: each row must keep its score.

    Raises:
        CAMError: in a run, if the function does not give one score per row, or does not score rows independently.
    """
    proven = False

    def scores(*args: Any, **kwargs: Any) -> Tensor:
        nonlocal proven
        output, rows = model(*args, **kwargs), len(args[0])
        reordered = None if proven else _reordered(output, rows)
        result = _called(target, output, rows)
        if not isinstance(result, Tensor) or result.shape != (rows,):
            got = shape_of(result) if isinstance(result, Tensor) else type(result).__name__
            raise CAMError(
                f"a target that is a function must give one score per sample, expected {rows}, got {got}; {_REMEDY}"
            )
        if not proven:
            _check_rows(target, reordered, result.detach())
            proven = True
        return result

    return scores


def _called(target: Callable[[Any], Tensor], output: Any, rows: int) -> Any:
    try:
        return target(output)
    except (torch.OutOfMemoryError, CAMError):
        raise
    except Exception as error:
        raised = f"{type(error).__name__}: {error}"
        raise CAMError(f"{_REMEDY} (for an output of {rows} rows it raised {raised})") from error


def _check_rows(target: Callable[[Any], Tensor], reordered: Any, scores: Tensor) -> None:
    """Raise a CAMError unless the rows of ``reordered`` keep their scores."""
    expected = wide(torch.cat((scores.flip(0), scores[:1])))
    with torch.no_grad():
        result = _called(target, reordered, len(expected))
    if not isinstance(result, Tensor) or result.shape != expected.shape:
        got = shape_of(result) if isinstance(result, Tensor) else type(result).__name__
        raise CAMError(f"{_REMEDY} (expected {len(expected)} scores for {len(expected)} rows, got {got})")
    eps = torch.finfo(scores.dtype if scores.is_floating_point() else torch.float32).eps
    bound = max(1e-5, 2 * eps) * expected.abs().max()
    if not torch.allclose(wide(result.detach()), expected, rtol=0, atol=float(bound.nan_to_num(0)), equal_nan=True):
        raise CAMError(f"{_REMEDY} (the same rows in another order got different scores)")


def _reordered(output: Any, rows: int) -> Any:
    """Reverse the rows of the output and append the first row again, which gives rows + 1 rows."""
    for axes in (lambda tensor: [0], lambda tensor: range(tensor.ndim)):
        reordered, taken = _take(output, rows, axes)
        if taken:
            return reordered
    raise CAMError(
        f"a target that is a function needs an output of tensors with one row per sample (also in dicts, lists and "
        f"tuples), got {type(output).__name__}; wrap the model in a module that returns such an output"
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
            return [value[index] for index in order], True  # one entry per sample, as detectors return
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
    pairs = [_take(value, rows, axes) for value in values]
    return [part for part, _ in pairs], any(taken for _, taken in pairs)
