"""The metrics of :mod:`captum_cams.metrics` by name, for one batch of explained pairs of image and class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from captum_cams.errors import check_choice
from captum_cams.metrics.annotation import Annotation
from captum_cams.metrics.functional import (
    adcc_of_parts,
    average_drop,
    coherency,
    complexity,
    curve_area,
    deletion_curve,
    drop_and_increase,
    energy_inside,
    insertion_curve,
    is_difficult,
    pointing_game,
    region_overlap,
)
from captum_cams.metrics.presets import find_preset
from captum_cams.metrics.protocols import Protocol

HIGHER_IS_BETTER = {
    "deletion_auc": False,
    "insertion_auc": True,
    "over_all": True,
    "average_drop": False,
    "average_increase": True,
    "adcc": True,
    "coherency": True,
    "complexity": False,
    "pointing_game": True,
    "pointing_game_difficult": True,
    "energy": True,
    "iou": True,
    "localisation_error_value": False,
    "localisation_error_mean": False,
    "localisation_error_energy": False,
}
"""Every metric, and which way it improves."""

METRICS = tuple(HIGHER_IS_BETTER)
DEFAULT_METRICS = ("insertion_auc", "deletion_auc", "over_all", "average_drop", "average_increase", "drift")
"""What the callback logs unless told otherwise."""
PERCENT = ("average_drop", "average_increase")
OVERLAPS = {
    "iou": "value",
    "localisation_error_value": "value",
    "localisation_error_mean": "mean",
    "localisation_error_energy": "energy",
}
"""The metrics that choose their best level over all images, and how they cut the map."""
LOCALISATION = {"pointing_game", "pointing_game_difficult", "energy", *OVERLAPS}
"""The metrics that compare a map with the boxes or masks of its class."""


@dataclass(frozen=True)
class Case:
    """One batch of explained pairs of image and class, P of them.

    Args:
        network: images → scores P×classes.
        images: P×C×H×W.
        classes: the explained ones.
        maps: P×1×h×w.
        annotations: of the pairs' images.
        explain: images and classes to maps.
        perturbations_per_eval: changed images in one run of the network.
    """

    network: Callable[..., Any]
    images: Tensor
    classes: list[int]
    maps: Tensor
    annotations: Sequence[Annotation]
    explain: Callable[[Tensor, Any], Tensor]
    perturbations_per_eval: int = 8


def reads_labels(protocol: Protocol) -> bool:
    """Whether the numbers depend on the labels of the images."""
    return protocol.classes == "annotated" or bool(LOCALISATION & {*protocol.metrics})


def columns(metrics: Sequence[str]) -> dict[str, int]:
    """What :func:`measure` returns for these metrics: name → number of values per pair.

    Raises:
        CAMError: unknown metric.
    """
    for metric in metrics:
        check_choice("metrics", metric, METRICS)
    cuts = dict.fromkeys(f"overlap_{OVERLAPS[metric]}" for metric in metrics if metric in OVERLAPS)
    return dict.fromkeys((metric for metric in metrics if metric not in OVERLAPS), 1) | dict.fromkeys(cuts, 20)


def measure(case: Case, protocol: Protocol) -> tuple[dict[str, Tensor], Tensor | None]:
    """Values by column, each P or P×20 and NaN where the metric is not defined, and the curves, P×2×(steps + 1).

    Deletion comes first in the curves, which have the preset's number of steps whatever the size of the image; they
    are None if no metric wants them.
    """
    wanted = set(columns(protocol.metrics))
    pairs, task = (case.network, case.images, case.maps, case.classes), protocol.task
    found: dict[str, Tensor] = {}
    curves = None
    if wanted & {"deletion_auc", "insertion_auc", "over_all"}:
        chunk = case.perturbations_per_eval
        deletion, insertion = (
            curve(*pairs, preset=protocol.preset, perturbations_per_eval=chunk, task=task)
            for curve in (deletion_curve, insertion_curve)
        )
        points = find_preset(protocol.preset).steps + 1
        curves = F.interpolate(torch.stack((deletion, insertion), 1), points, mode="linear", align_corners=True)
        found["deletion_auc"], found["insertion_auc"] = curve_area(deletion), curve_area(insertion)
        found["over_all"] = found["insertion_auc"] - found["deletion_auc"]
    if wanted & {"average_drop", "average_increase"}:
        changes = drop_and_increase(*pairs, masking=protocol.masking, task=task)
        found["average_drop"], found["average_increase"] = changes
    if wanted & {"adcc", "coherency"}:
        found["coherency"] = coherency(case.images, case.maps, case.explain, case.classes)
    if wanted & {"adcc", "complexity"}:
        found["complexity"] = complexity(case.images, case.maps)
    if "adcc" in wanted:
        found["adcc"] = adcc_of_parts(found["coherency"], found["complexity"], average_drop(*pairs, task=task) / 100)
    localisation = wanted - found.keys()
    if localisation:
        found |= _localisation(case, protocol, localisation)
    return {name: found[name] for name in columns(protocol.metrics)}, curves


def _localisation(case: Case, protocol: Protocol, wanted: set[str]) -> dict[str, Tensor]:
    size = (case.images.shape[-2], case.images.shape[-1])
    known = [
        i for i, (one, index) in enumerate(zip(case.annotations, case.classes, strict=True)) if index in one.regions
    ]
    regions = [case.annotations[i].regions[case.classes[i]] for i in known]
    maps = case.maps[known]
    found: dict[str, Tensor] = {}
    if not known:
        widths = columns(protocol.metrics)
        shapes = {name: (len(case.classes), 20)[: 1 + (widths[name] > 1)] for name in wanted}
        return {name: torch.full(shape, torch.nan, dtype=torch.float32) for name, shape in shapes.items()}
    if wanted & {"pointing_game", "pointing_game_difficult"}:
        hits = found["pointing_game"] = pointing_game(maps, regions, size, margin=protocol.margin).float()
        alone = [len(case.annotations[i].classes) < 2 for i in known]
        hard = [is_difficult(one, size, other_classes=not single) for one, single in zip(regions, alone, strict=True)]
        found["pointing_game_difficult"] = hits.where(torch.tensor(hard, dtype=torch.bool), torch.nan)
    if "energy" in wanted:
        found["energy"] = energy_inside(maps, regions, size)
    for cut in ("value", "mean", "energy"):
        if f"overlap_{cut}" in wanted:
            found[f"overlap_{cut}"] = region_overlap(maps, regions, size, threshold=cut)
    return {name: _spread(values, known, len(case.classes)) for name, values in found.items()}


def _spread(values: Tensor, places: list[int], count: int) -> Tensor:
    """The values at their places among ``count``, NaN elsewhere."""
    full = torch.full((count, *values.shape[1:]), torch.nan, dtype=torch.float32)
    full[places] = values.float().cpu()
    return full
