"""What a metric declares about itself, and how users add theirs."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from torch import Tensor

from captum_cams.errors import CAMError, brief, check_choice
from captum_cams.metrics.case import Case, Need

Unit = Literal["", "%"]
MetricFunction = Callable[[Case], Tensor]
_Function = TypeVar("_Function", bound=MetricFunction)


@dataclass(frozen=True)
class MetricEntry:
    """A metric as the catalogue holds it.

    Args:
        name: of its columns and tags.
        function: case → one value for each pair of image and class, P, NaN where it is not defined; or P×levels.
        higher_is_better: which way it improves.
        unit: "%" for values from 0 to 100, or nothing.
        needs: "regions" (boxes or masks of the class) and "labels": the function gets only the pairs that have them,
            and the others are NaN; "probabilities": the metric is refused for a regression, which has none; "curves":
            it is read from the deletion and insertion curves, which are drawn then.
        levels: thresholds, of which the one that is best over all rows counts; none where the mean over rows counts.
    """

    name: str
    function: MetricFunction
    higher_is_better: bool
    unit: Unit = ""
    needs: frozenset[Need] = frozenset()
    levels: tuple[float, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the value of one pair."""
        return (len(self.levels),) if self.levels else ()


METRICS: dict[str, MetricEntry] = {}
"""Every metric by its name, those of users too; :func:`register_metric` adds one."""

_TAKEN = ("image", "class", "method", "seconds", "forward_seconds", "drift")


def register_metric(
    *,
    higher_is_better: bool,
    name: str | None = None,
    unit: Unit = "",
    needs: Need | Iterable[Need] = (),
    levels: Sequence[float] = (),
) -> Callable[[_Function], _Function]:
    """Decorate a function of a :class:`Case`: it becomes a metric for ``evaluate``, the callback and the command line.

    Args:
        higher_is_better: which way the metric improves.
        name: the function's own otherwise.
        unit: "%" for values from 0 to 100, or nothing.
        needs: see :class:`MetricEntry`.
        levels: see :class:`MetricEntry`.

    Returns:
        The decorator, which returns the function as it is.

    Raises:
        CAMError: an argument does not fit, or the name belongs to another metric. The same function may be registered
            again, as notebooks do.

    Example::

        @register_metric(higher_is_better=True)
        def peak(case):
            return case.maps.flatten(1).amax(1)


        evaluate(model, data, "gradcam", metrics=["peak"])
    """
    if not isinstance(higher_is_better, bool):
        raise CAMError(f"higher_is_better must be True or False, got {brief(higher_is_better)}")
    check_choice("unit", unit, get_args(Unit))
    needed = [needs] if isinstance(needs, str) else [*needs]
    for need in needed:
        check_choice("needs", need, get_args(Need))

    def register(function: _Function) -> _Function:
        if not callable(function):
            raise CAMError(f"a metric is a function of a Case, got {brief(function)}")
        key = str(name or getattr(function, "__name__", ""))
        if not re.fullmatch(r"[A-Za-z]\w*", key) or key in _TAKEN:
            raise CAMError(
                f'a metric\'s name must be letters, digits and "_", and none of {", ".join(_TAKEN)}, got "{key}"; '
                "pass name="
            )
        known = METRICS.get(key)
        if known is not None and _place(known.function) != _place(function):
            raise CAMError(f'the name "{key}" belongs to {".".join(_place(known.function))}; pass another name=')
        entry = MetricEntry(key, function, higher_is_better, unit, frozenset(needed), tuple(map(float, levels)))
        METRICS[key] = entry
        return function

    return register


def _place(function: MetricFunction) -> tuple[str, str]:
    """Where a function is defined."""
    kind = function if hasattr(function, "__qualname__") else type(function)
    return kind.__module__, kind.__qualname__
