"""Panels of volumes and clips: which slices are shown, in which order, and in which colours."""

import matplotlib as mpl
import numpy as np
import pytest
import torch

import captum_cams as cc
from captum_cams import visual

CELL = 224  # pixels of one picture in a panel


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
    found = visual.overlay(torch.zeros(1, 3, 2, 4, 4), maps, alpha=1.0)
    for index, value in enumerate((0.25, 1.0)):
        expected = torch.tensor(mpl.colormaps["turbo"](value)[:3], dtype=torch.float32)
        torch.testing.assert_close(found[0, :, index, 0, 0], expected)


@pytest.fixture
def texts(monkeypatch):
    """The texts of the panels that are drawn."""
    found, draw = [], visual.FigureCanvasAgg.draw
    monkeypatch.setattr(
        visual.FigureCanvasAgg,
        "draw",
        lambda canvas: found.extend(text.get_text() for text in canvas.figure.texts) or draw(canvas),
    )
    return found


def a_panel(count: int, mean=(0, 0, 0)) -> np.ndarray:
    """Two clips of five frames, whose grey is their number; one method likes frame 3, another frames 1 and 3."""
    frames = torch.arange(5.0).reshape(1, 1, 5, 1, 1) / 5
    clips = frames.expand(2, 3, 5, 8, 8).clone()
    first, second = torch.zeros(2, 5, 8, 8), torch.zeros(2, 1, 5, 8, 8)
    first[0, 3, 2, 2] = first[1, 4, 0, 0] = 1
    second[0, 0, 1, 2, 2], second[0, 0, 3, 6, 6] = 0.01, 0.02
    second[1, 0, 0, 1, 1] = 5
    maps = {"first": first, "second": second}
    return visual.panel(clips, maps, ["one", "two\nlines"], mean=mean, std=(1, 1, 1), slices=count)


def test_a_row_shows_its_slices_from_top_to_bottom_and_names_them(texts):
    picture = a_panel(2)
    assert picture.shape[1] == 3 * CELL
    assert texts[3:] == ["slices 1, 3 of 5\none", "slices 0, 4 of 5\ntwo\nlines"]
    column = picture[:, CELL // 2, :]
    grey = [round(255 * frame / 5) for frame in (1, 3, 0, 4)]
    alike = [(column == value).all(1) for value in grey]
    starts = [next(top for top in range(len(column)) if rows[top : top + CELL - 4].all()) for rows in alike]
    assert starts[1] - starts[0] == starts[3] - starts[2] == CELL
    assert (column[starts[1] - 2 : starts[1]] == 255).all()
    hot, cold = (np.array(mpl.colormaps["turbo"](value)[:3]) for value in (1.0, 0.0))
    pixel, half = CELL // 8, CELL // 16
    for start, value, place, colour in (
        (starts[0], 0.2, (2, 2), cold),  # the first method sees nothing in frame 1
        (starts[1], 0.6, (2, 2), hot),
        (starts[1], 0.6, (0, 0), cold),
    ):
        at = start + place[0] * pixel + half, CELL + place[1] * pixel + half
        assert np.abs(picture[at] - 255 * (value + colour) / 2).max() <= 1.5


def test_a_short_clip_is_shown_whole(texts):
    assert a_panel(3).shape[0] < a_panel(9).shape[0]
    assert texts[-2].startswith("slices 0, 1, 2, 3, 4 of 5")


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
