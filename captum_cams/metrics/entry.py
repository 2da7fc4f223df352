"""The declaration of a metric, and the decorator with which users add their own metrics."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor

from captum_cams.errors import CAMError, brief, check_choice
from captum_cams.metrics.case import Case, Need

Unit = Literal["", "%"]
MetricFunction = Callable[[Case], Tensor]
RowsFunction = Callable[[Tensor, Tensor], Tensor]
_Function = TypeVar("_Function", bound=MetricFunction)


@dataclass(frozen=True)
class MetricEntry:
    """The declaration of one metric.

    Args:
        name: the name in tables and logs.
        function: function from a :class:`Case` to one value for each pair of image and class, P, or to P×levels values.
            NaN means that the metric is not defined for a pair.
        higher_is_better: whether higher values are better.
        unit: "%" for values from 0 to 100, or "".
        needs: "labels" or "regions" (boxes or masks of the class): the function gets only the pairs that have them, and
            the other pairs get NaN. "probabilities": the metric is refused for a regression. "curves": the metric is
            computed from the deletion and insertion curves, which are then saved too.
        levels: thresholds. The threshold that is best over all rows counts. Without levels, the mean over the rows
            counts.
        size: how many numbers the function returns for each pair, if ``over_rows`` makes the value of a row from them.
        over_rows: function from the numbers of all rows of one method, R×size, and their classes, R, to one value for
            each row; for metrics that compare the maps of several images.
        dtype: the type in which the numbers are kept. ``torch.uint8`` takes a quarter of the memory of float32.

    Example::

        entry = metrics.METRICS["deletion_auc"]
        print(entry.higher_is_better, entry.needs)  # False frozenset({'curves'})
    """

    name: str
    function: MetricFunction
    higher_is_better: bool
    unit: Unit = ""
    needs: frozenset[Need] = frozenset()
    levels: tuple[float, ...] = ()
    size: int = 0
    over_rows: RowsFunction | None = None
    dtype: torch.dtype = torch.float32

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what the function returns for one pair: (), (levels,) or (size,)."""
        count = len(self.levels) or self.size
        return (count,) if count else ()


METRICS: dict[str, MetricEntry] = {}
"""All metrics by name; :func:`register_metric` adds a metric of your own."""

_TAKEN = ("image", "class", "method", "seconds", "forward_seconds", "drift")


def register_metric(
    *,
    higher_is_better: bool,
    name: str | None = None,
    unit: Unit = "",
    needs: Need | Iterable[Need] = (),
    levels: Sequence[float] = (),
    size: int = 0,
    over_rows: RowsFunction | None = None,
    dtype: torch.dtype = torch.float32,
) -> Callable[[_Function], _Function]:
    """Make a metric of your own, which ``evaluate``, the callback and the command line then know by its name.

    This is a decorator for a function of a :class:`Case`. The same function may be registered again, for example when a
    notebook cell runs twice.

    Args:
        higher_is_better: whether higher values are better.
        name: the name of the metric; None takes the name of the function.
        unit: "%" for values from 0 to 100, or "".
        needs: "labels", "regions", "probabilities", "curves", or several of these; see :class:`MetricEntry`.
        levels: the thresholds of a metric that chooses the best one; see :class:`MetricEntry`.
        size: the number of numbers for each pair of a metric that compares several images; see :class:`MetricEntry`.
        over_rows: the function that makes one value for each row from these numbers; see :class:`MetricEntry`.
        dtype: the type in which they are kept: float32, or ``torch.uint8`` for whole numbers from 0 to 255, which have
            no NaN, so that such a metric must be defined for every pair.

    Returns:
        A decorator that registers the function and returns it unchanged.

    Raises:
        CAMError: an argument does not fit, or another metric has the same name.

    Example::

        @metrics.register_metric(higher_is_better=True)
        def peak(case):
            return case.maps.flatten(1).amax(1)


        data = torch.utils.data.TensorDataset(images, labels)
        lightning_callbacks.evaluate(model, data, "gradcam", metrics=["peak"])
    """
    if not isinstance(higher_is_better, bool):
        raise CAMError(f"higher_is_better must be True or False, got {brief(higher_is_better)}")
    check_choice("unit", unit, get_args(Unit))
    if (size > 0) != (over_rows is not None) or (levels and over_rows):
        raise CAMError(
            f"size and over_rows must be given together, and without levels, got size={size} and "
            f"over_rows={brief(over_rows)}; a metric with one value for each pair needs neither"
        )
    needed = [needs] if isinstance(needs, str) else [*needs]
    if dtype != torch.float32 and (dtype != torch.uint8 or not over_rows or needed):
        raise CAMError(
            "dtype must be torch.float32, or torch.uint8 for a metric with size and over_rows that is defined for all "
            f"pairs (needs=()), got {dtype} with size={size} and needs={needed}"
        )
    for need in needed:
        check_choice("needs", need, get_args(Need))

    def register(function: _Function) -> _Function:
        if not callable(function):
            raise CAMError(
                f"a metric must be a function of a Case, got {brief(function)}; put @register_metric(...) above its def"
            )
        key = str(name or getattr(function, "__name__", ""))
        if not re.fullmatch(r"[A-Za-z]\w*", key) or key in _TAKEN:
            raise CAMError(
                'the name of a metric must have only letters, digits and "_", start with a letter, and be none of '
                f'{", ".join(_TAKEN)}, got "{key}"; pass another name='
            )
        known = METRICS.get(key)
        if known is not None and _definition(known.function) != _definition(function):
            owner = ".".join(_definition(known.function))
            raise CAMError(
                f'each metric must have a name of its own, but "{key}" belongs to {owner}; pass another name='
            )
        thresholds = tuple(map(float, levels))
        METRICS[key] = MetricEntry(
            key, function, higher_is_better, unit, frozenset(needed), thresholds, size, over_rows, dtype
        )
        return function

    return register


def _definition(function: MetricFunction) -> tuple[str, str]:
    """The module in which a function is defined, and its name there."""
    kind = function if hasattr(function, "__qualname__") else type(function)
    return kind.__module__, kind.__qualname__
