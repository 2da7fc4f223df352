"""Panels of volumes and clips: which slices are shown, in which order, and in which colours."""

import pytest
import torch

import captum_cams as cc
from captum_cams import visual
from tests.support.pictures import covered, pictures_of, texts_of


def test_the_slices_with_the_most_energy_are_chosen_in_order():
    maps = torch.rand(3, 7, 5, 4, generator=torch.Generator().manual_seed(0))
    for count in (1, 3, 7, 9):
        found = visual.choose_slices(maps, count)
        for each, map_ in zip(found.tolist(), maps, strict=True):
            energies = [float(part.sum()) for part in map_]
            assert each == sorted(sorted(range(7), key=lambda i: -energies[i])[:count])


def test_of_equal_slices_the_first_are_chosen():
    assert visual.choose_slices(torch.zeros(1, 5, 2, 2), 2).tolist() == [[0, 1]]


def test_a_volume_is_scaled_as_a_whole():
    clip = torch.rand(1, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    low, high = clip.min(), clip.max()
    torch.testing.assert_close(visual.displayable(clip), (clip - low) / (high - low))
    normalised = (clip - 0.5) / torch.tensor([0.1, 0.2, 0.4]).reshape(1, 3, 1, 1, 1)
    torch.testing.assert_close(visual.displayable(normalised, [0.5] * 3, [0.1, 0.2, 0.4]), clip)
    maps = torch.zeros(1, 1, 2, 4, 4)
    maps[0, 0, 0, 0, 0], maps[0, 0, 1, 0, 0] = 1, 4
    black = torch.zeros(3)
    found = visual.overlay(torch.zeros(1, 3, 2, 4, 4), maps, smoothing=0, percentile=100)
    for index, value in enumerate((0.25, 1.0)):
        torch.testing.assert_close(found[0, :, index, 0, 0], covered(black, value))


def a_panel(count: int):
    """Two clips of five frames, whose grey is their number; one method likes frame 3, another frames 1 and 3."""
    frames = torch.arange(5.0).reshape(1, 1, 5, 1, 1) / 5
    clips = frames.expand(2, 3, 5, 8, 8).clone()
    first, second = torch.zeros(2, 5, 8, 8), torch.zeros(2, 1, 5, 8, 8)
    first[0, 3, 2, 2] = first[1, 4, 0, 0] = 1
    second[0, 0, 1, 2, 2], second[0, 0, 3, 6, 6] = 0.01, 0.02
    second[1, 0, 0, 1, 1] = 5
    options = {"mean": (0, 0, 0), "std": (1, 1, 1), "smoothing": 0, "percentile": 100}
    return visual.draw_panel(clips, {"first": first, "second": second}, ["one", "two"], slices=count, **options)


def test_a_row_shows_its_slices_from_top_to_bottom_and_names_them():
    figure = a_panel(2)
    assert {"slices 1, 3 of 5", "one", "slices 0, 4 of 5", "two"} < {*texts_of(figure)}
    pictures = pictures_of(figure)[: 3 * 4]
    for column in range(3):
        part = pictures[4 * column : 4 * column + 4]
        bottoms = [bottom for (_, _, bottom, _), _ in part]
        tops = [top for (_, _, _, top), _ in part]
        assert tops == sorted(tops)
        assert all(above < below for above, below in zip(bottoms, tops[1:], strict=False))
        for (_, picture), frame in zip(part, (1, 3, 0, 4), strict=True):
            grey = torch.full((3,), frame / 5)
            assert (picture[7, 7] - grey).abs().max() <= 1 / 255
    lit = {(1, 1): (2, 2), (1, 3): (0, 0), (2, 1): (6, 6), (2, 2): (1, 1)}  # column and slice → place
    for (column, number), place in lit.items():
        frame = (1, 3, 0, 4)[number]
        expected = covered(torch.full((3,), frame / 5), 1.0)
        assert (pictures[4 * column + number][1][place] - expected).abs().max() <= 1 / 255
    half = covered(torch.full((3,), 1 / 5), 0.5)
    assert (pictures[8][1][2, 2] - half).abs().max() <= 1 / 255  # one scale for the whole clip


def test_a_short_clip_is_shown_whole():
    figure = a_panel(9)
    assert figure.height > a_panel(3).height
    assert "slices 0, 1, 2, 3, 4 of 5" in texts_of(figure)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda: visual.displayable(torch.rand(2, 3, 9)), "signals have no picture, so draw the heat map as a line"),
        (lambda: visual.overlay(torch.rand(1, 3, 4, 8, 8), torch.rand(1, 8, 8)), "images must be N×3×D×H×W and maps"),
        (lambda: visual.choose_slices(torch.rand(3, 8, 8)), "must be N×D×H×W, got 3×8×8"),
        (lambda: visual.choose_slices(torch.rand(1, 3, 8, 8), 0), "count must be an integer of at least 1"),
    ],
)
def test_what_has_no_slices_is_refused(action, words):
    with pytest.raises(cc.CAMError, match=words):
        action()
