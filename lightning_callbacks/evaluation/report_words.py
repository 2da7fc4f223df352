"""What the report of an evaluation says of its methods: means with intervals, plain words, and ranks."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from captum_cams import statistics
from captum_cams.metrics.catalogue import METRICS
from captum_cams.statistics.ranking import critical_difference
from captum_cams.statistics.seeds import mean_over_seeds
from lightning_callbacks.evaluation.report_rows import ReportRows

_RANKED = 5  # with fewer images, hardly any difference is critical


def words_of(table: Mapping[str, Any], rows: ReportRows) -> dict[str, dict[str, Any]]:
    """Compare each method with the best one, by each metric.

    Args:
        table: the content of table.json.
        rows: the values of the same evaluation.

    Returns:
        metric → "best", the name of the method with the best mean, or None; and "against": for each other method with a
        value, what is shown against the best one: "worse", "better" or "none", the "difference" to it with "low" and
        "high", and the number "n" of images.
    """
    methods, found = [*table["table"]], dict[str, dict[str, Any]]()
    for metric, about in table["metrics"].items():
        higher = about["higher_is_better"]
        means = {name: table["table"][name][metric]["mean"] for name in methods}
        known = {name: mean if higher else -mean for name, mean in means.items() if mean is not None}
        best = max(known, key=lambda name: known[name]) if known else None
        pairs = [(name, str(best)) for name in known if name != best]
        given = rows.values[metric], methods
        compared = statistics.compare(*given, higher_is_better=higher, units=rows.images, pairs=pairs) if pairs else []
        against = {
            one.first: {
                "shown": {None: "none", best: "worse"}.get(one.better, "better"),
                **{"difference": one.difference, "low": one.low, "high": one.high, "n": one.n},
            }
            for one in compared
        }
        found[metric] = {"best": best, "against": against}
    return found


def ranks_of(table: Mapping[str, Any], rows: ReportRows) -> dict[str, dict[str, Any]]:
    """Rank the methods within each image, as a critical-difference diagram shows them.

    Args:
        table: the content of table.json.
        rows: the values of the same evaluation.

    Returns:
        metric → "places" (method and mean rank, best first), "images", and the critical "difference" of Nemenyi's test;
        only for metrics that have a value of two or more methods on five or more images.
    """
    methods, found = [*table["table"]], dict[str, dict[str, Any]]()
    for metric, about in table["metrics"].items():
        values, higher = rows.values[metric], about["higher_is_better"]
        values = mean_over_seeds(values) if values.ndim == 3 else values
        images = len(rows.images[values.isfinite().all(1)].unique())
        if len(methods) < 2 or images < _RANKED:
            continue
        # The intervals of the ranks are not shown, so one resample is enough.
        ranks = statistics.ranks(values, methods, higher_is_better=higher, units=rows.images, resamples=1)
        mean_ranks = {one.method: one.mean_rank for one in ranks}
        difference = critical_difference(len(methods), images)
        places = sorted(mean_ranks.items(), key=lambda place: place[1])
        found[metric] = {"places": places, "images": images, "difference": difference}
    return found


def metrics_of(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Describe the metrics: name, direction, unit, digits, and the first sentence of their documentation."""
    found = []
    for name, about in table["metrics"].items():
        entry = METRICS.get(name)
        text = "" if entry is None else " ".join((entry.function.__doc__ or "").strip().split("\n\n")[0].split())
        digits = 1 if about["unit"] == "%" else 3
        found.append({"name": name, "higher": about["higher_is_better"], "unit": about["unit"], "digits": digits})
        found[-1]["about"] = text
    return found


def disagreement(maps: Sequence[Tensor]) -> float | None:
    """How far the maps of several methods differ: 1 − the mean correlation of two of them.

    Args:
        maps: the map of each method, all of one size; a constant map correlates with none.

    Returns:
        0 if all are alike, 1 if they have nothing in common, up to 2; None for fewer than two maps.
    """
    if len(maps) < 2:
        return None
    flat = torch.stack([one.flatten() for one in maps]).double()
    flat = flat - flat.mean(1, keepdim=True)
    flat = flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-12)
    first, second = torch.triu_indices(len(maps), len(maps), 1)
    return 1 - float((flat @ flat.T)[first, second].mean())
