"""Compare a later output with a place: whether it mixes the positions, and where its own positions are."""

import torch
from torch import Tensor

from captum_cams.engine.generators import generator_of
from captum_cams.engine.positions import Reading
from captum_cams.engine.response import contrast, regions
from captum_cams.engine.survey import Candidate, Output, Survey

_FOLLOWS = 0.05  # the least contrast of a step between two places


def mixes(seen: Survey, later: Output, place: Candidate) -> bool:
    """Tell whether a part of a later output that should depend on one position of a place depends on others too.

    Each axis of the output is asked for what its middle entry depends on. If one of them has positions and nothing was
    mixed, it depends on no more than its share of the positions. A channel depends on all positions anyway.
    """
    if len([side for side in later.shape[1:] if side > 1]) < 2:
        return False  # a vector for each sample: positions were pooled, which only a head does
    weights = torch.randn(later.shape, generator=generator_of(0))
    for axis, side in enumerate(later.shape):
        middle = torch.zeros_like(weights)
        middle.select(axis, side // 2).copy_(weights.select(axis, side // 2))
        gradient = seen.pulled_back([later.edge], [_like(seen, middle)], place)
        if gradient is None:
            return False
        live = place.reading.to_map(gradient).abs().sum((0, 1)) > 0
        if side > 1 and int(live.sum()) <= -(-live.numel() // side):
            return False
    return True


def following(seen: Survey, later: Output, place: Candidate) -> Reading | None:
    """Read a later output like a place before it, if its corners depend most on the same corners of the place.

    Random weights spread what happens in one corner of the image over the whole map of a deep network. Over one stage
    they do not.
    """
    best: tuple[float, Reading] | None = None
    for reading in later.contrasts:
        if not _alike(reading, place.reading):
            continue
        found = _contrast_of_step(seen, later, reading, place)
        if found > _FOLLOWS and (best is None or found > best[0]):
            best = found, reading
    return best and best[1]


def _alike(reading: Reading, before: Reading) -> bool:
    """Whether the map is not larger, and has no axis that proves nothing."""
    smaller = all(side <= full for side, full in zip(reading.size, before.size, strict=True))
    return smaller and 1 not in reading.size


def _contrast_of_step(seen: Survey, later: Output, reading: Reading, place: Candidate) -> float:
    steps = []
    for corner in regions(reading.size):
        kept = torch.zeros(later.shape)
        on_map = reading.to_map(kept)
        weights = torch.randn(on_map.shape[1], generator=generator_of(0))
        on_map[corner] = weights.view(-1, *[1] * len(reading.size))
        gradient = seen.pulled_back([later.edge], [_like(seen, kept)], place)
        if gradient is None:
            return 0.0
        steps.append(place.reading.to_map(gradient))
    change = torch.stack(steps).float()  # corners×N×K×h×w
    # What all corners depend on alike, such as the values of an attention, tells nothing.
    return max(contrast(part.abs().sum((1, 2))) for part in (change, change - change.mean(0)))


def _like(seen: Survey, weights: Tensor) -> Tensor:
    return weights.to(seen.output)
