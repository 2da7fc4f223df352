"""Masks and boxes of maps, against plain loops."""

import pytest
import torch

import captum_cams as cc
from captum_cams.images import heat
from tests.support.refusals import said

GENERATOR = torch.Generator().manual_seed(0)
MAPS = torch.rand(4, 1, 9, 12, generator=GENERATOR).pow(3)
MAPS[1] = (MAPS[1] * 4).round()  # with many equal values
MAPS[2] = -MAPS[2]


def scaled(number):
    one = MAPS[number, 0].double()
    return ((one - one.min()) / (one.max() - one.min())).float()


def otsu(values):
    """Every threshold in turn: the variance between both sides."""
    flat, best, found = values.flatten().double().tolist(), -1.0, None
    for cut in sorted(set(flat))[1:]:
        low, high = [v for v in flat if v < cut], [v for v in flat if v >= cut]
        between = len(low) * len(high) * (sum(low) / len(low) - sum(high) / len(high)) ** 2
        if between > best * (1 + 1e-12):
            best, found = between, cut
    return values >= found


def energy(values, share):
    marked, total = torch.zeros_like(values, dtype=torch.bool), 0.0
    for place in sorted(range(values.numel()), key=lambda p: -values.flatten()[p].item()):
        if marked.any() and total >= share * values.double().sum().item():
            break
        marked.view(-1)[place], total = True, total + values.flatten()[place].item()
    return marked


def flooded(mask):
    """The boxes of the parts that share edges, the largest part first."""
    left, boxes = {tuple(place) for place in mask.nonzero().tolist()}, []
    while left:
        part, edge = set(), [min(left)]
        while edge:
            y, x = edge.pop()
            if (y, x) in left:
                left.remove((y, x))
                part.add((y, x))
                edge += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        rows, columns = zip(*part, strict=True)
        boxes.append((-len(part), [min(columns), min(rows), max(columns) + 1, max(rows) + 1]))
    return sorted(boxes, key=lambda box: box[0])


@pytest.mark.parametrize("number", range(4))
def test_masks_are_those_of_plain_loops(number):
    values = scaled(number)
    assert torch.equal(cc.mask_from_map(MAPS)[number], otsu(values))
    for share in (0.05, 0.5, 1.0):
        marked = cc.mask_from_map(MAPS[:, 0], threshold="energy", level=share)[number]
        assert torch.equal(values[marked].sort().values, values[energy(values, share)].sort().values)
        assert torch.equal(cc.mask_from_map(MAPS, threshold="value", level=share)[number], values >= share)


@pytest.mark.parametrize("least", [1, 4])
def test_boxes_are_those_of_a_flood(least):
    masks = cc.mask_from_map(MAPS, (18, 30), threshold="value", level=0.3)
    for found, mask in zip(
        cc.boxes_from_map(MAPS, (18, 30), threshold="value", level=0.3, least_pixels=least), masks, strict=True
    ):
        expected = [box for size, box in flooded(mask) if -size >= least]
        assert sorted(found.tolist()) == sorted(expected)
        pixels = [int(mask[y0:y1, x0:x1].sum()) for x0, y0, x1, y1 in found.tolist()]
        assert len(pixels) < 2 or pixels[0] >= max(pixels) - least
        assert found.dtype == torch.long


def test_a_box_is_half_open_and_sized_as_the_image():
    maps = torch.zeros(1, 1, 8, 8)
    maps[0, 0, 2:5, 1:7] = 1
    (box,) = cc.boxes_from_map(maps)[0].tolist()
    assert box == [1, 2, 7, 5]
    x0, y0, x1, y1 = box
    assert bool((maps[0, 0, y0:y1, x0:x1] == 1).all())
    larger = heat(maps, (16, 16))[0, 0] >= 0.5
    assert torch.equal(cc.mask_from_map(maps, (16, 16), threshold="value")[0], larger)


@pytest.mark.parametrize("threshold", ["otsu", "value", "energy"])
def test_a_constant_map_marks_nothing(threshold):
    maps = torch.full((2, 1, 5, 5), 0.7)
    assert not cc.mask_from_map(maps, threshold=threshold).any()
    assert [boxes.shape for boxes in cc.boxes_from_map(maps, threshold=threshold)] == [(0, 4), (0, 4)]


def test_volumes_have_masks_and_no_boxes():
    maps = torch.zeros(1, 1, 4, 5, 6)
    maps[0, 0, 1:3, 2, 3] = 1
    assert torch.equal(cc.mask_from_map(maps)[0], maps[0, 0] == 1)
    assert "use mask_from_map" in said(cc.boxes_from_map, maps)


def test_what_cannot_be_cut_is_refused():
    assert "'otsu'" in said(lambda: cc.mask_from_map(MAPS, threshold="mean"))
    assert "above 0" in said(lambda: cc.mask_from_map(MAPS, threshold="value", level=0))
    assert "N×1×h×w" in said(cc.mask_from_map, torch.rand(2, 3, 4, 4))
    assert "NaN" in said(cc.mask_from_map, MAPS * torch.nan)
    assert "here it is called threshold" in said(lambda: cc.mask_from_map(MAPS, method="otsu"))
    assert 'did you mean "threshold"' in said(lambda: cc.boxes_from_map(MAPS, treshold="otsu"))
    assert "least_pixels" in said(lambda: cc.boxes_from_map(MAPS, least_pixels=0))
