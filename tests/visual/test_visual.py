"""Pictures against colours, places and curves that are worked out without the code that draws them."""

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from captum_cams import visual

CELL = 224  # pixels of one picture in a panel, the last two of them a gap
RED, GREEN, BLUE = torch.eye(3)


def plain(*colours: torch.Tensor, side: int = 8) -> torch.Tensor:
    """One image of each colour."""
    return torch.stack(colours)[:, :, None, None].expand(-1, -1, side, side)


def colour_of(value: float, colormap: str = "turbo") -> torch.Tensor:
    return torch.tensor(mpl.colormaps[colormap](value)[:3], dtype=torch.float32)


@pytest.fixture
def drawn(monkeypatch):
    """Every figure that is drawn, as matplotlib holds it."""
    figures, draw = [], FigureCanvasAgg.draw
    monkeypatch.setattr(FigureCanvasAgg, "draw", lambda canvas: figures.append(canvas.figure) or draw(canvas))
    return figures


def test_the_normalisation_is_undone_channel_by_channel():
    colours = torch.tensor([[0.1, 0.4, 0.9], [0.8, 0.2, 0.3]])
    mean, std = (0.5, 0.4, 0.3), (0.1, 0.2, 0.4)
    seen = (plain(*colours) - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(visual.displayable(seen, mean, std), plain(*colours))
    bright = torch.full((1, 3, 2, 2), 9.0)
    assert torch.equal(visual.displayable(bright, mean, std), torch.ones(1, 3, 2, 2))


def test_without_a_normalisation_each_image_has_its_own_range():
    images = torch.stack((torch.arange(12.0), 5 * torch.arange(12.0) - 7)).reshape(2, 3, 2, 2)
    expected = (torch.arange(12.0) / 11).reshape(3, 2, 2)
    torch.testing.assert_close(visual.displayable(images), torch.stack((expected, expected)))


@pytest.mark.parametrize("channels", [1, 2])
def test_other_numbers_of_channels_are_grey(channels):
    images = torch.rand(2, channels, 4, 5, generator=torch.Generator().manual_seed(0))
    zeros, ones = [0.0] * channels, [1.0] * channels
    found = visual.displayable(images, zeros, ones)
    torch.testing.assert_close(found, images.mean(1, keepdim=True).expand(2, 3, 4, 5))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("colormap", ["turbo", "viridis"])
def test_each_map_colours_its_own_image_by_matplotlibs_colours(alpha, colormap):
    images = plain(RED, BLUE, side=2)
    maps = torch.tensor([[[0.0, 1.0], [2.0, 4.0]], [[4.0, 3.0], [1.0, 0.0]]])
    found = visual.overlay(images, maps, alpha, colormap)
    for image, map_, colour in zip(found, maps, (RED, BLUE), strict=True):
        for row in range(2):
            for column in range(2):
                expected = (1 - alpha) * colour + alpha * colour_of(float(map_[row, column]) / 4, colormap)
                torch.testing.assert_close(image[:, row, column], expected)
    assert torch.equal(visual.overlay(images, maps[:, None], alpha, colormap), found)


def test_half_of_the_colours_are_shown_unless_told_otherwise():
    found = visual.overlay(plain(GREEN, side=2), torch.tensor([[[0.0, 1.0], [1.0, 1.0]]]))
    torch.testing.assert_close(found[0, :, 0, 1], (GREEN + colour_of(1.0)) / 2)


def test_a_coarse_map_is_hot_where_it_is_large():
    maps = torch.zeros(2, 4, 4)
    maps[0, 0, 3] = maps[1, 3, 1] = 1
    found = visual.overlay(plain(RED, RED, side=16), maps, alpha=1.0, colormap="gray")[:, 0]
    places = [divmod(int(one.argmax()), 16) for one in found]
    assert [(row // 4, column // 4) for row, column in places] == [(0, 3), (3, 1)]


HEIGHT = 12  # of images whose width is 8: a cell is half as high again as it is wide


def a_panel(names, captions):
    """Two images, and for each name a map of zeros but for one pixel, which is another for each image and name."""
    images = torch.stack((torch.zeros(3, HEIGHT, 8), torch.zeros(3, HEIGHT, 8)))
    images[0, 0], images[1, 2] = 1, 1  # red, then blue
    maps = {name: torch.zeros(2, HEIGHT, 8) for name in names}
    for number, map_ in enumerate(maps.values()):
        map_[0, 2 + number, 1], map_[1, 9, 3 + number] = 1, 1
    return visual.panel(images, maps, captions, mean=(0, 0, 0), std=(1, 1, 1))


def tops(picture, count):
    """The first lines of the cells of the first column, found by their colours."""
    column = picture[:, CELL // 2].astype(int)
    starts = []
    for colour in ((255, 0, 0), (0, 0, 255))[:count]:
        rows = np.flatnonzero((column == colour).all(1))
        assert len(rows) == CELL * HEIGHT // 8
        assert (np.diff(rows) == 1).all()
        starts.append(int(rows[0]))
    return starts


def test_a_panel_has_a_row_for_each_image_and_a_column_for_each_method():
    picture = a_panel(["first", "second"], ["one", "two"])
    assert picture.dtype == np.uint8
    assert picture.shape[1:] == (3 * CELL, 3)
    starts = tops(picture, 2)
    assert starts == sorted(starts)
    pixel = CELL // 8
    hot, cold = colour_of(1.0), colour_of(0.0)
    for row, (top, colour) in enumerate(zip(starts, (RED, BLUE), strict=True)):
        for number in range(2):
            lit = (2 + number, 1) if row == 0 else (9, 3 + number)
            for place in ((2, 1), (3, 1), (9, 3), (9, 4), (0, 0), (HEIGHT - 1, 7)):
                at = top + place[0] * pixel + pixel // 2, (1 + number) * CELL + place[1] * pixel + pixel // 2
                expected = (colour + (hot if place == lit else cold)) / 2 * 255
                assert np.abs(picture[at] - expected.numpy()).max() <= 1, (row, number, place)


def test_names_stand_over_their_columns_and_captions_under_their_images(drawn):
    picture = a_panel(["first", "second"], ["one", "two"])
    (figure,) = drawn
    texts = {text.get_text(): text.get_window_extent() for text in figure.texts}
    assert set(texts) == {"input", "first", "second", "one", "two"}
    starts, high = tops(picture, 2), CELL * HEIGHT // 8
    for number, name in enumerate(("input", "first", "second")):
        box = texts[name]
        assert number * CELL <= box.x0 < box.x1 <= (number + 1) * CELL
        assert len(picture) - box.y0 <= starts[0]
    below = [starts[0] + high, starts[1] + high]
    for name, above, end in zip(("one", "two"), below, (starts[1], len(picture)), strict=True):
        lines = len(picture) - texts[name].y1, len(picture) - texts[name].y0
        assert above <= lines[0] < lines[1] <= end, name


def test_letters_are_really_drawn():
    inked = a_panel(["gradcam"], ["", "below"]).min(2) < 128
    start, high = tops(a_panel(["gradcam"], ["", "below"]), 2), CELL * HEIGHT // 8
    assert inked[: start[0]].any()
    assert not inked[start[0] + high : start[1]].any()
    assert inked[start[1] + high :].any()


def test_curves_are_drawn_in_their_axes_with_their_areas(drawn):
    falling, rising = torch.tensor([1.0, 0.5, 0.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0])
    flat = torch.full((5,), 0.25)
    picture = visual.curves({"gradcam": (falling, rising), "random": (flat, flat)})
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    (figure,) = drawn
    upper, lower = figure.axes
    assert upper.get_position().y0 > lower.get_position().y1
    for axes, which, areas in ((upper, "deletion", (0.25, 0.25)), (lower, "insertion", (0.625, 0.25))):
        assert which in axes.get_title()
        assert {"deletion": "deleted", "insertion": "inserted"}[which] in axes.get_xlabel()
        assert "%" in axes.get_xlabel()
        assert axes.get_ylabel() == "probability"
        assert axes.get_xlim() == (0, 100)
        assert axes.get_ylim()[0] == 0
        lines = axes.get_lines()
        expected = (falling if which == "deletion" else rising), flat
        for line, values in zip(lines, expected, strict=True):
            assert np.allclose(line.get_xdata(), [0, 25, 50, 75, 100])
            assert np.allclose(line.get_ydata(), values)
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels == [f"{name} {area:.3f}" for name, area in zip(("gradcam", "random"), areas, strict=True)]
    colours = [[line.get_color() for line in axes.get_lines()] for axes in (upper, lower)]
    assert colours[0] == colours[1]  # a method has one colour in both
    assert colours[0][0] != colours[0][1]


def test_twelve_methods_have_twelve_styles_and_other_quantities_may_be_negative(drawn):
    values = -torch.ones(3)
    visual.curves({str(i): (values, values) for i in range(12)}, "value")
    for axes in drawn[0].axes:
        assert len({(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}) == 12
        assert axes.get_ylabel() == "value"
        assert axes.get_ylim()[0] < -1
