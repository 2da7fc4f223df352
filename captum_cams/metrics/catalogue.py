"""The metrics by name, each declared once: everything that reads or writes numbers asks this list.

A metric is a function of a :class:`Case` that :func:`register_metric` adds to the list. What several metrics read is
computed once: ``case.shared(deletion)``.
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
    """One metric over many rows: mean, standard error of the mean, and number of rows that have a value.

    ``level`` is the threshold that was best over all rows, for the metrics that choose one.
    """

    mean: float
    standard_error: float
    n: int
    level: float | None = None


def measure(case: Case, metrics: Sequence[str]) -> tuple[dict[str, Tensor], Tensor | None]:
    """Every metric for every pair of a case.

    Returns:
        The values by metric, float32 on the CPU, each P or P×levels and NaN where the metric is not defined; and the
        deletion and insertion curves of the pairs, P×2×(steps + 1) with the preset's number of steps whatever the
        size of the image, or None if no metric needs them.

    Raises:
        CAMError: an unknown metric, or one whose function gives another shape.
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
    found = case.shared(entry.function)
    shape = (len(case.classes), *entry.shape)
    if not isinstance(found, Tensor) or found.shape != shape:
        got = shape_of(found) if isinstance(found, Tensor) else brief(found)
        raise CAMError(
            f'the metric "{entry.name}" must give a tensor with a value for each pair of image and class, '
            f"{'×'.join(map(str, shape))}, got {got}"
        )
    return found.detach().float().cpu()


def summary(metric: str, values: Tensor) -> Summary:
    """A metric over many rows, as a table or a log gives it.

    Args:
        metric: its name.
        values: R, or R×levels; rows that are NaN do not count.

    Returns:
        The mean, or the mean at the level that is best over all these rows; NaN without any row.

    Raises:
        CAMError: an unknown metric.
    """
    entry = lookup("metric", metric, METRICS)
    if not entry.levels:
        return _mean(values)
    means = values.double().nanmean(0)
    best = int(means.argmax() if entry.higher_is_better else means.argmin())
    return _mean(values[:, best], entry.levels[best])


def _mean(values: Tensor, level: float | None = None) -> Summary:
    values = values[values.isfinite()].double()
    n = len(values)
    error = float(values.std() / n**0.5) if n > 1 else math.nan
    return Summary(float(values.mean()) if n else math.nan, error, n, level)


def deletion(case: Case) -> Tensor:
    """The deletion curve of each pair."""
    return functional.deletion_curve(*case.arguments, **_of_curves(case))


def insertion(case: Case) -> Tensor:
    """The insertion curve of each pair."""
    return functional.insertion_curve(*case.arguments, **_of_curves(case))


def _of_curves(case: Case) -> dict[str, Any]:
    given = case.conditions
    return {"preset": given.preset, "task": given.task, "perturbations_per_eval": case.perturbations_per_eval}


def curves(case: Case) -> Tensor:
    """Both curves of each pair, P×2×(steps + 1), with the preset's number of steps whatever the size of the image."""
    both = torch.stack((case.shared(deletion), case.shared(insertion)), 1)
    return F.interpolate(both, find_preset(case.conditions.preset).steps + 1, mode="linear", align_corners=True)


def _drop_and_increase(case: Case) -> tuple[Tensor, Tensor]:
    given = case.conditions
    return functional.drop_and_increase(*case.arguments, masking=given.masking, task=given.task)


def _overlap(case: Case, threshold: Threshold = "value") -> Tensor:
    return functional.region_overlap(case.maps, case.regions, case.size, threshold=threshold)


@register_metric(higher_is_better=False, needs=["curves"])
def deletion_auc(case: Case) -> Tensor:
    """Area under the deletion curve."""
    return functional.curve_area(case.shared(deletion))


@register_metric(higher_is_better=True, needs=["curves"])
def insertion_auc(case: Case) -> Tensor:
    """Area under the insertion curve."""
    return functional.curve_area(case.shared(insertion))


@register_metric(higher_is_better=True, needs=["curves"])
def over_all(case: Case) -> Tensor:
    """Insertion minus deletion area."""
    return insertion_auc(case) - deletion_auc(case)


@register_metric(higher_is_better=False, unit="%", needs=["probabilities"])
def average_drop(case: Case) -> Tensor:
    """What the explained part alone loses of the probability."""
    return case.shared(_drop_and_increase)[0]


@register_metric(higher_is_better=True, unit="%", needs=["probabilities"])
def average_increase(case: Case) -> Tensor:
    """Whether the explained part alone has a higher probability."""
    return case.shared(_drop_and_increase)[1]


@register_metric(higher_is_better=True, needs=["probabilities"])
def adcc(case: Case) -> Tensor:
    """Harmonic mean of coherency, simplicity and kept probability."""
    drop = functional.average_drop(*case.arguments, task=case.conditions.task) / 100
    return functional.adcc_of_parts(case.shared(coherency), case.shared(complexity), drop)


@register_metric(higher_is_better=True)
def coherency(case: Case) -> Tensor:
    """Correlation of the map with the map of the explained part alone."""
    return functional.coherency(case.images, case.maps, case.explain, case.classes)


@register_metric(higher_is_better=False)
def complexity(case: Case) -> Tensor:
    """Mean of the scaled map."""
    return functional.complexity(case.images, case.maps)


@register_metric(higher_is_better=True, needs=["regions"])
def pointing_game(case: Case) -> Tensor:
    """Whether the maximum of the map hits a region."""
    return functional.pointing_game(case.maps, case.regions, case.size, margin=case.conditions.margin).float()


@register_metric(higher_is_better=True, needs=["regions"])
def pointing_game_difficult(case: Case) -> Tensor:
    """The pointing game on the images with small regions and other classes."""
    alone = [len(known.classes) < 2 for known in case.annotations]
    pairs = zip(case.regions, alone, strict=True)
    hard = [functional.is_difficult(regions, case.size, other_classes=not single) for regions, single in pairs]
    return case.shared(pointing_game).where(torch.tensor(hard), torch.nan)


@register_metric(higher_is_better=True, needs=["regions"])
def energy(case: Case) -> Tensor:
    """Share of the map inside the regions."""
    return functional.energy_inside(case.maps, case.regions, case.size)


@register_metric(higher_is_better=True, needs=["regions"], levels=LEVELS)
def iou(case: Case) -> Tensor:
    """Overlap of the map, cut at each level, with the regions."""
    return case.shared(_overlap)


@register_metric(higher_is_better=False, needs=["regions"], levels=LEVELS)
def localisation_error_value(case: Case) -> Tensor:
    """Whether the overlap is below one half, of the map cut at a value."""
    return (case.shared(_overlap) < 0.5).float()


@register_metric(higher_is_better=False, needs=["regions"], levels=LEVELS)
def localisation_error_mean(case: Case) -> Tensor:
    """The same, of the map cut at a multiple of its mean."""
    return (_overlap(case, "mean") < 0.5).float()


@register_metric(higher_is_better=False, needs=["regions"], levels=LEVELS)
def localisation_error_energy(case: Case) -> Tensor:
    """The same, of the highest pixels that hold a share of the map's sum."""
    return (_overlap(case, "energy") < 0.5).float()
