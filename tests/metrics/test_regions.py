"""Localisation against loops over pixels."""

from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import captum_cams as cc
from captum_cams.metrics import (
    EnergyPointingGame,
    LocalisationError,
    PointingGame,
    energy_inside,
    is_difficult,
    localisation_error,
    pointing_game,
    region_mask,
    region_overlap,
)

SIZE = (9, 12)


def drawn(seed: int) -> tuple[Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(3, 1, *SIZE, generator=generator).round(decimals=1)  # with ties
    boxes = []
    for count in (1, 2, 3):
        corners = torch.stack([torch.randint(0, side - 1, (count,), generator=generator) for side in (12, 9)], 1)
        extent = torch.stack([torch.randint(1, 6, (count,), generator=generator) for _ in range(2)], 1)
        limit = torch.tensor([12, 9])
        boxes.append(torch.cat((corners, torch.minimum(corners + extent, limit)), 1))
    return maps, boxes


def largest_part(kept: Tensor) -> list[tuple[int, int]]:
    """Flood fill; of equal parts the first."""
    left = {(y, x) for y, x in kept.nonzero().tolist()}
    parts = []
    for start in sorted(left):
        if start not in left:
            continue
        part, queue = [], deque([start])
        left.discard(start)
        while queue:
            y, x = queue.popleft()
            part.append((y, x))
            for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if near in left:
                    left.discard(near)
                    queue.append(near)
        parts.append(part)
    return max(parts, key=len)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), margin=st.sampled_from([0, 1, 2.5]))
def test_pointing_game_and_energy_are_the_loops(seed, margin):
    maps, boxes = drawn(seed)
    hits, energy = pointing_game(maps, boxes, SIZE, margin=margin), energy_inside(maps, boxes, SIZE)
    for n, corners in enumerate(boxes):
        heat = maps[n, 0]
        heat = (heat - heat.min()) / (heat.max() - heat.min())
        pixels = {(y, x) for x0, y0, x1, y1 in corners.tolist() for y in range(y0, y1) for x in range(x0, x1)}
        y, x = next((y, x) for y in range(9) for x in range(12) if heat[y, x] == heat.max())
        nearest = min((y - b) ** 2 + (x - a) ** 2 for b, a in pixels)
        assert bool(hits[n]) == (nearest <= margin**2)
        inside = sum(float(heat[place]) for place in pixels)
        assert energy[n].item() == pytest.approx(inside / float(heat.sum()), rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), threshold=st.sampled_from(["value", "mean", "energy"]))
def test_overlap_is_the_loop(seed, threshold):
    maps, boxes = drawn(seed)
    levels = (0.0, 0.3, 0.7, 0.95)
    found = region_overlap(maps, boxes, SIZE, threshold=threshold, levels=levels)
    for n, corners in enumerate(boxes):
        heat = maps[n, 0]
        heat = (heat - heat.min()) / (heat.max() - heat.min())
        for i, level in enumerate(levels):
            if threshold == "energy":
                order = sorted(((y, x) for y in range(9) for x in range(12)), key=lambda p: -float(heat[p]))
                kept, running = torch.zeros(SIZE, dtype=torch.bool), 0.0
                for place in order:
                    kept[place] = True
                    running += float(heat[place].double())
                    if running >= level * float(heat.double().sum()) - 1e-12:
                        break
            else:
                kept = heat >= (level if threshold == "value" else level * heat.mean())
            part = largest_part(kept)
            rows, columns = zip(*part, strict=True)
            box = {(y, x) for y in range(min(rows), max(rows) + 1) for x in range(min(columns), max(columns) + 1)}
            best = 0.0
            for x0, y0, x1, y1 in corners.tolist():
                other = {(y, x) for y in range(y0, y1) for x in range(x0, x1)}
                best = max(best, len(box & other) / len(box | other))
            assert found[n, i].item() == pytest.approx(best, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), margin=st.sampled_from([0, 1, 2.5]))
def test_masks_of_boxes_point_and_hold_energy_as_the_boxes_do(seed, margin):
    maps, boxes = drawn(seed)
    masks = [torch.stack([region_mask(box[None], SIZE) for box in given]) for given in boxes]
    hits = pointing_game(maps, boxes, SIZE, margin=margin)
    assert torch.equal(pointing_game(maps, masks, SIZE, margin=margin), hits)
    torch.testing.assert_close(energy_inside(maps, masks, SIZE), energy_inside(maps, boxes, SIZE))


def test_overlap_with_masks_counts_pixels():
    maps, boxes = drawn(5)
    masks = [torch.stack([region_mask(box[None], SIZE) for box in given]).float() for given in boxes]
    found = region_overlap(maps, masks, SIZE, levels=(0.4, 0.8))
    for n, marks in enumerate(masks):
        heat = (maps[n, 0] - maps[n].min()) / (maps[n].max() - maps[n].min())
        marked = {(y, x) for one in marks for y, x in one.nonzero().tolist()}
        for i, level in enumerate((0.4, 0.8)):
            kept = {(y, x) for y in range(9) for x in range(12) if heat[y, x] >= level}
            assert found[n, i].item() == pytest.approx(len(kept & marked) / len(kept | marked))


def test_a_box_holds_the_pixels_between_its_edges_wherever_they_are():
    """Edges between pixels, and outside of the image."""
    boxes = [[-3.0, -2.5, 1.5, 2.0], [8.2, 6.0, 20.0, 7.01], [3.0, 8.5, 5.0, 30.0], [-5.0, 4.0, -1.0, 6.0]]
    held = {
        (y, x)
        for y in range(SIZE[0])
        for x in range(SIZE[1])
        if any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes)
    }
    mask = region_mask(torch.tensor(boxes), SIZE)
    assert mask.shape == SIZE
    assert {(y, x) for y, x in mask.nonzero().tolist()} == held
    maps = torch.zeros(1, 1, *SIZE)
    maps[..., 7, 2] = 1
    # The nearest pixel of (0.5, 4.2) to (3.5, 5.9) is in column 3 and row 5; the highest one in column 2 and row 7.
    for margin, hit in ((5**0.5 - 0.01, False), (5**0.5 + 0.01, True)):
        inner = [torch.tensor([[3.0, 4.2, 5.5, 5.9]])]
        assert pointing_game(maps, inner, SIZE, margin=margin).tolist() == [hit]


def test_difficult_is_small_and_not_alone():
    quarter, less = torch.tensor([[0, 0, 6, 4], [0, 4, 3, 5]]), torch.tensor([[0, 0, 6, 4], [1, 1, 5, 3]])
    assert int(region_mask(quarter, SIZE).sum()) == 27  # of 108
    assert not is_difficult(quarter, SIZE, other_classes=True)
    assert is_difficult(less, SIZE, other_classes=True)
    assert not is_difficult(less, SIZE, other_classes=False)


def test_the_error_is_that_of_the_best_level():
    overlaps = torch.tensor([[0.6, 0.2], [0.5, 0.9], [0.1, 0.9]])
    assert localisation_error(overlaps).item() == pytest.approx(1 / 3)
    assert localisation_error(overlaps, 0.55).item() == pytest.approx(1 / 3)
    assert localisation_error(overlaps[:, :1], 0.55).item() == pytest.approx(2 / 3)
    assert localisation_error(torch.full((1, 1), 0.5)) == 0  # an overlap of a half is a hit


def test_half_of_the_box_is_a_hit_and_every_twentieth_is_a_level():
    half = torch.zeros(1, 1, *SIZE)
    half[..., 3:7, 2:5] = 1
    metric = LocalisationError()
    metric.update(half, [torch.tensor([[2, 3, 8, 7]])], SIZE)
    assert metric.compute() == 0
    np.testing.assert_allclose(metric.levels, np.arange(0, 1, 0.05))


def test_a_map_that_is_the_box_is_perfect_and_a_constant_one_is_no_nan():
    boxes = [torch.tensor([[2, 3, 8, 7]])]
    exact = torch.zeros(1, 1, *SIZE)
    exact[..., 3:7, 2:8] = 1
    assert region_overlap(exact, boxes, SIZE)[0, 1:].min() == 1
    assert energy_inside(exact, boxes, SIZE) == 1
    assert pointing_game(exact[:, 0], boxes, SIZE).all()
    for threshold in ("value", "mean", "energy"):
        assert torch.isfinite(region_overlap(torch.ones(1, *SIZE), boxes, SIZE, threshold=threshold)).all()
    assert energy_inside(torch.ones(1, *SIZE), boxes, SIZE) == 0
    assert pointing_game(torch.zeros(1, 3, 4), boxes, SIZE).tolist() == [False]


@pytest.mark.parametrize(
    ("maps", "boxes", "words"),
    [
        (torch.zeros(1, 2, 3, 3), [torch.zeros(1, 4)], "maps must be"),
        (torch.zeros(2, 3, 3), [torch.tensor([[0, 0, 1, 1]])], "regions of 1 images"),
        (torch.zeros(1, 3, 3), [torch.zeros(0, 4)], "leave out images without a box"),
        (torch.zeros(1, 3, 3), [torch.tensor([[0, 2, 1, 1]])], "x0 < x1 and y0 < y1"),
        (torch.zeros(1, 3, 3), [torch.tensor([[1, 0, 1, 5]])], "got the box [1, 0, 1, 5] for image 0"),
        (torch.zeros(1, 3, 3), [torch.zeros(1, *SIZE)], "masks must not be empty"),
        (torch.zeros(1, 3, 3), [torch.ones(1, 4, 4)], "masks B×9×12, got 1×4×4"),
        (torch.full((1, 3, 3), torch.nan), [torch.tensor([[0, 0, 1, 1]])], "maps must be finite"),
    ],
)
def test_what_does_not_fit_is_explained(maps, boxes, words):
    for function in (pointing_game, energy_inside, region_overlap):
        with pytest.raises(cc.CAMError) as caught:
            function(maps, boxes, SIZE)
        assert words in str(caught.value)


def test_the_metrics_are_the_functions_over_uneven_batches():
    maps, boxes = drawn(3)
    shells = [PointingGame(1), EnergyPointingGame(), *(LocalisationError(kind) for kind in ("value", "mean", "energy"))]
    for shell in shells:
        shell.update(maps[:1], boxes[:1], SIZE)
        shell.update(maps[1:], boxes[1:], SIZE)
    expected = [
        pointing_game(maps, boxes, SIZE, margin=1).float().mean(),
        energy_inside(maps, boxes, SIZE).mean(),
        *(localisation_error(region_overlap(maps, boxes, SIZE, threshold=k)) for k in ("value", "mean", "energy")),
    ]
    for shell, value in zip(shells, expected, strict=True):
        torch.testing.assert_close(shell.compute(), value)
    assert [shell.higher_is_better for shell in shells] == [True, True, False, False, False]
    with pytest.raises(cc.CAMError, match="at least one threshold"):
        LocalisationError(levels=[])
