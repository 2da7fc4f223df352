"""All metrics by name. The callback, ``evaluate`` and the command line look them up here.

A metric is a function of a :class:`Case`, which :func:`register_metric` adds to the list. Results that several metrics
need are computed once: ``case.shared(deletion)``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from captum_cams.errors import CAMError, brief, lookup, shape_of
from captum_cams.metrics import functional
from captum_cams.metrics.case import Case
from captum_cams.metrics.entry import METRICS as METRICS
from captum_cams.metrics.entry import MetricEntry, register_metric
from captum_cams.metrics.functional.localisation import LEVELS, Threshold
from captum_cams.metrics.presets import find_preset


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


def summary(metric: str, values: Tensor) -> Summary:
    """Summarise the values of a metric over many rows.

    Args:
        metric: the name of the metric.
        values: R or R×levels values; NaN values do not count.

    Returns:
        The mean, or the mean at the level that is best over all rows.

    Raises:
        CAMError: the metric is unknown.
    """
    entry = lookup("metric", metric, METRICS)
    if not entry.levels:
        return _mean(values)
    means = values.double().nanmean(0)
    best = int((means if entry.higher_is_better else -means).nan_to_num(-math.inf).argmax())  # NaN is no best value
    return _mean(values[:, best], entry.levels[best])


def _mean(values: Tensor, level: float | None = None) -> Summary:
    values = values[values.isfinite()].double()
    n = len(values)
    error = float(values.std() / n**0.5) if n > 1 else math.nan
    return Summary(float(values.mean()) if n else math.nan, error, n, level)


def deletion(case: Case) -> Tensor:
    """The deletion curve of each pair, P×(steps + 1)."""
    return functional.deletion_curve(*case.arguments, **_of_curves(case))


def insertion(case: Case) -> Tensor:
    """The insertion curve of each pair, P×(steps + 1)."""
    return functional.insertion_curve(*case.arguments, **_of_curves(case))


def _of_curves(case: Case) -> dict[str, Any]:
    given = case.conditions
    return {"preset": given.preset, "task": given.task, "perturbations_per_eval": case.perturbations_per_eval}


def curves(case: Case) -> Tensor:
    """Deletion and insertion curve of each pair, P×2×(steps + 1), resampled to the number of steps of the preset."""
    both = torch.stack((case.shared(deletion), case.shared(insertion)), 1)
    return F.interpolate(both, find_preset(case.conditions.preset).steps + 1, mode="linear", align_corners=True)


def _drop_and_increase(case: Case) -> tuple[Tensor, Tensor]:
    given = case.conditions
    return functional.drop_and_increase(*case.arguments, masking=given.masking, task=given.task)


def _overlap(case: Case, threshold: Threshold = "value") -> Tensor:
    return functional.region_overlap(case.maps, case.regions, case.size, threshold=threshold)


@register_metric(higher_is_better=False, needs=["curves"])
def deletion_auc(case: Case) -> Tensor:
    """The area under the deletion curve, 0 to 1."""
    return functional.curve_area(case.shared(deletion))


@register_metric(higher_is_better=True, needs=["curves"])
def insertion_auc(case: Case) -> Tensor:
    """The area under the insertion curve, 0 to 1."""
    return functional.curve_area(case.shared(insertion))


@register_metric(higher_is_better=True, needs=["curves"])
def over_all(case: Case) -> Tensor:
    """The insertion area minus the deletion area, −1 to 1."""
    return insertion_auc(case) - deletion_auc(case)


@register_metric(higher_is_better=False, unit="%", needs=["probabilities"])
def average_drop(case: Case) -> Tensor:
    """The share of the probability that is lost if only the explained part is shown, 0 to 100 %."""
    return case.shared(_drop_and_increase)[0]


@register_metric(higher_is_better=True, unit="%", needs=["probabilities"])
def average_increase(case: Case) -> Tensor:
    """100 % if the explained part alone has a higher probability, else 0."""
    return case.shared(_drop_and_increase)[1]


@register_metric(higher_is_better=True, needs=["probabilities"])
def adcc(case: Case) -> Tensor:
    """The harmonic mean of coherency, simplicity and kept probability, 0 to 1."""
    drop = functional.average_drop(*case.arguments, task=case.conditions.task) / 100
    return functional.adcc_of_parts(case.shared(coherency), case.shared(complexity), drop)


@register_metric(higher_is_better=True)
def coherency(case: Case) -> Tensor:
    """The similarity of the map to the map of the explained part alone, 0 to 1."""
    return functional.coherency(case.images, case.maps, case.explain, case.classes)


@register_metric(higher_is_better=False)
def complexity(case: Case) -> Tensor:
    """The mean of the scaled map, 0 to 1."""
    return functional.complexity(case.images, case.maps)


@register_metric(higher_is_better=True, needs=["regions"])
def pointing_game(case: Case) -> Tensor:
    """1 if the maximum of the map lies in a region, else 0."""
    return functional.pointing_game(case.maps, case.regions, case.size, margin=case.conditions.margin).float()


@register_metric(higher_is_better=True, needs=["regions"])
def pointing_game_difficult(case: Case) -> Tensor:
    """The pointing game for images with small regions and several classes; NaN for the other images."""
    alone = [len(known.classes) < 2 for known in case.annotations]
    pairs = zip(case.regions, alone, strict=True)
    hard = [functional.is_difficult(regions, case.size, other_classes=not single) for regions, single in pairs]
    return case.shared(pointing_game).where(torch.tensor(hard), torch.nan)


@register_metric(higher_is_better=True, needs=["regions"])
def energy(case: Case) -> Tensor:
    """The share of the map inside the regions, 0 to 1."""
    return functional.energy_inside(case.maps, case.regions, case.size)


@register_metric(higher_is_better=True, needs=["regions"], levels=LEVELS)
def iou(case: Case) -> Tensor:
    """The overlap of the regions with the pixels that reach each level, 0 to 1."""
    return case.shared(_overlap)


@register_metric(higher_is_better=False, needs=["regions"], levels=LEVELS)
def localisation_error_value(case: Case) -> Tensor:
    """1 if the overlap is below ½, with a fixed value as threshold, else 0."""
    return (case.shared(_overlap) < 0.5).float()


@register_metric(higher_is_better=False, needs=["regions"], levels=LEVELS)
def localisation_error_mean(case: Case) -> Tensor:
    """1 if the overlap is below ½, with a multiple of the mean of the map as threshold, else 0."""
    return (_overlap(case, "mean") < 0.5).float()


@register_metric(higher_is_better=False, needs=["regions"], levels=LEVELS)
def localisation_error_energy(case: Case) -> Tensor:
    """1 if the overlap is below ½, for the highest pixels that together have a share of the map, else 0."""
    return (_overlap(case, "energy") < 0.5).float()
