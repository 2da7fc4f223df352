"""Compute metrics of explained pairs by name, and summarise their values over many rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_cams.errors import CAMError, brief, lookup, shape_of
from captum_cams.metrics.case import Case
from captum_cams.metrics.catalogue.curves import curves
from captum_cams.metrics.entry import METRICS, MetricEntry


@dataclass(frozen=True)
class Summary:
    """One metric over many rows.

    Args:
        mean: the mean of the values; NaN without any value.
        standard_error: the standard error of the mean; NaN with fewer than two values.
        n: the number of rows that have a value.
        level: the threshold that is best over all rows, for metrics that choose a threshold.

    Example::

        data = torch.utils.data.TensorDataset(images, labels)
        table = lightning_callbacks.evaluate(model, data, "gradcam", metrics="complexity")
        print(table["gradcam", "complexity"].mean)
    """

    mean: float
    standard_error: float
    n: int
    level: float | None = None


def measure(case: Case, metrics: Sequence[str]) -> tuple[dict[str, Tensor], Tensor | None]:
    """Compute metrics for every pair of a case.

    Args:
        case: the explained pairs.
        metrics: names from ``METRICS``.

    Returns:
        The values by metric, float32 on the CPU, P or P×levels each, NaN if the metric is not defined for a pair. And
        the deletion and insertion curves, P×2×(steps + 1) with the number of steps of the preset, or None if no metric
        needs them.

    Raises:
        CAMError: a metric is unknown, or its function returns a tensor of another shape.
    """
    entries = [lookup("metric", metric, METRICS) for metric in metrics]
    parts = {tuple(range(len(case.classes))): case}
    values = {}
    for entry in entries:
        pairs = tuple(i for i in range(len(case.classes)) if case.has(i, entry.needs))
        if pairs not in parts:
            parts[pairs] = case.part(pairs)
        values[entry.name] = torch.full((len(case.classes), *entry.shape), torch.nan, dtype=torch.float32)
        if pairs:
            values[entry.name][list(pairs)] = _values(entry, parts[pairs])
    drawn = any("curves" in entry.needs for entry in entries)
    return values, curves(case).float().cpu() if drawn else None


def _values(entry: MetricEntry, case: Case) -> Tensor:
    """The values of one metric, checked."""
    found = case.shared(entry.function)
    shape = (len(case.classes), *entry.shape)
    if not isinstance(found, Tensor) or found.shape != shape:
        got = shape_of(found) if isinstance(found, Tensor) else brief(found)
        raise CAMError(
            f'the metric "{entry.name}" must return a tensor with one value for each pair of image and class, '
            f"{'×'.join(map(str, shape))}, got {got}; reduce or reshape the values in its function"
        )
    return found.detach().float().cpu()


def summary(metric: str, values: Tensor, classes: Tensor) -> Summary:
    """Summarise the values of a metric over many rows of one method.

    Args:
        metric: the name of the metric.
        values: the values of R rows as :func:`measure` returns them; NaN values do not count.
        classes: the explained classes, R.

    Returns:
        The mean, or the mean at the level that is best over all rows.

    Raises:
        CAMError: the metric is unknown, or its function over the rows returns a tensor of another shape.
    """
    each, level = row_values(metric, values, classes)
    return summarise(each, level)


def row_values(metric: str, values: Tensor, classes: Tensor) -> tuple[Tensor, float | None]:
    """Find the one value of each row: at the best level, or from the function of the metric over all rows.

    Args:
        metric: the name of the metric.
        values: the values of R rows of one method as :func:`measure` returns them.
        classes: the explained classes, R.

    Returns:
        R values, and the level for metrics that choose a level.

    Raises:
        CAMError: the metric is unknown, or its function over the rows returns a tensor of another shape.
    """
    entry = lookup("metric", metric, METRICS)
    if entry.over_rows is not None:
        found = entry.over_rows(values, classes)
        if not isinstance(found, Tensor) or found.shape != (len(values),):
            got = shape_of(found) if isinstance(found, Tensor) else brief(found)
            raise CAMError(
                f'over_rows of the metric "{entry.name}" must return one value for each of {len(values)} rows, '
                f"got {got}"
            )
        return found.detach().float().cpu(), None
    if not entry.levels:
        return values, None
    means = values.double().nanmean(0)
    best = int((means if entry.higher_is_better else -means).nan_to_num(-math.inf).argmax())  # NaN is no best value
    return values[:, best], entry.levels[best]


def summarise(values: Tensor, level: float | None = None) -> Summary:
    """Summarise one value of each row; NaN and infinite values do not count."""
    values = values[values.isfinite()].double()
    n = len(values)
    error = float(values.std() / n**0.5) if n > 1 else math.nan
    return Summary(float(values.mean()) if n else math.nan, error, n, level)
