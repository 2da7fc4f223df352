"""Panels: which picture stands where, and letters of one size that are never cut and never overlap."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import captum_cams as cc
from captum_cams import visual
from tests.support.pictures import covered, pictures_of, plain, texts_of

RED, GREEN, BLUE = torch.eye(3)
HEIGHT = 12  # of images whose width is 8
LONG = "a very long name of a class, another name of the same class, and Donaudampfschifffahrtsgesellschaftskapitän"


def drawn(names, captions, **options):
    """A red and a blue image, and for each name a map of zeros but for one pixel, another for each image and name."""
    images = torch.zeros(2, 3, HEIGHT, 8)
    images[0, 0], images[1, 2] = 1, 1
    maps = {name: torch.zeros(2, HEIGHT, 8) for name in names}
    for number, map_ in enumerate(maps.values()):
        map_[0, 2 + number % 8, 1], map_[1, 9, 3 + number % 4] = 1, 1
    options = {"mean": (0, 0, 0), "std": (1, 1, 1), "smoothing": 0} | options
    return visual.draw_panel(images, maps, captions, **options)


def test_a_panel_has_a_row_for_each_image_and_a_column_for_each_method():
    figure = drawn(["first", "second"], ["one", "two"])
    pictures = pictures_of(figure)[:6]  # column by column; then the colour bar
    assert len({extent[0] for extent, _ in pictures}) == 3
    for number, (extent, picture) in enumerate(pictures):
        column, row = divmod(number, 2)
        colour = (RED, BLUE)[row]
        left, right, bottom, top = extent
        assert (right - left, bottom - top) == (112, 168)
        for place in ((2, 1), (3, 1), (9, 3), (9, 4), (0, 0), (HEIGHT - 1, 7)):
            lit = (1 + column, 1) if row == 0 else (9, 2 + column)
            expected = covered(colour, 1.0) if column and place == lit else colour
            assert (picture[place] - expected).abs().max() <= 1 / 255, (number, place)
    lefts = [extent[0] for extent, _ in pictures]
    assert lefts == sorted(lefts)
    assert pictures[0][0][2] < pictures[1][0][3]


def test_the_pixels_are_those_of_the_figure():
    options = {"mean": (0, 0, 0), "std": (1, 1, 1)}
    images, maps = plain(RED, BLUE, side=224), {"a": torch.rand(2, 7, 7)}
    found = visual.panel(images, maps, **options)
    assert found.dtype == np.uint8
    ((left, right, bottom, top), picture), *_ = pictures_of(visual.draw_panel(images, maps, **options))
    shown = found[int(2 * top) : int(2 * bottom), int(2 * left) : int(2 * right)]
    assert np.array_equal(shown, (picture * 255).byte().numpy())  # not resampled, since the images are as large
    with Image.open(io.BytesIO(found._repr_png_())) as file:
        assert np.array_equal(np.asarray(file), found)


SIZES = ({}, {"width": 3.25}, {"width": 6.75, "theme": "dark"}, {"width": 12.0})


@pytest.mark.parametrize("options", SIZES)
@pytest.mark.parametrize("names", [["gradcam"], ["gradcam", "fgcam(scorecam)", "smoothgradcamplusplus", LONG]])
def test_no_text_is_cut_and_none_overlaps(options, names):
    captions = [visual.Caption(f"{LONG}\n{LONG}", right=False), visual.Caption("short", right=True)]
    figure = drawn(names, captions, contours=[0.5], cut="energy", region=(1, 1, 7, 9), **options)
    texts = list(texts_of(figure).items())
    places = [box for _, box in texts]
    scale = figure.dpi / 72
    places += [
        tuple(scale * value for value in (left, top, right, bottom))
        for (left, right, bottom, top), _ in pictures_of(figure)
    ]
    assert len(texts) > 6
    for number, (left, top, right, bottom) in enumerate(places):
        assert left >= 0
        assert top >= 0
        assert right <= figure.bbox.width
        assert bottom <= figure.bbox.height
        for other in places[:number]:
            apart = left >= other[2] or other[0] >= right or top >= other[3] or other[1] >= bottom
            assert apart, (texts[min(number, len(texts) - 1)], other)
    assert {text.get_fontsize() for text in figure.axes[0].texts} == {8.0}


def test_every_word_is_written():
    words = " ".join(texts_of(drawn(["gradcam", LONG], [LONG, "two"], width=3.25)))
    squeezed = words.replace(" ", "")
    assert squeezed.count(LONG.replace(" ", "")) == 2
    assert "Grad-CAM" in words


def test_a_width_that_is_too_small_is_refused():
    with pytest.raises(cc.CAMError, match=r"3 columns need a width of 1\.67 inches or more, got 1\.2"):
        drawn(["a", "b"], None, width=1.2)


def test_right_and_wrong_differ_in_mark_and_colour():
    captions = [visual.Caption("one", right=True), visual.Caption("two", right=False)]
    for theme in ("light", "dark"):
        figure = drawn(["a"], captions, theme=theme)
        marks = {text.get_text(): text.get_color() for text in figure.axes[0].texts if text.get_text() in "✓✗"}
        assert len({*marks.values()}) == 2
        assert [*marks] == ["✓", "✗"]
    assert not {"✓", "✗"} & {*texts_of(drawn(["a"], ["one", "two"]))}


def test_what_was_done_is_written():
    images, maps = torch.rand(1, 3, 64, 64), torch.zeros(1, 64, 64)
    maps[0, ::8, ::8] = torch.arange(64.0).view(8, 8) - 9
    figure = visual.draw_panel(images, {"a": maps}, region=(0, 0, 60, 60), cut="otsu", contours=[0.2, -0.3])
    words = " ".join(texts_of(figure))
    for part in (
        "a*",
        "* smoothed, cut at percentile 99; lines:",
        "negative to positive, zero in the middle, up to the largest magnitude of the map",
        "lines: -0.3, 0.2 of the scale; outline: above Otsu's threshold; dashed: what the model saw",
    ):
        assert part in words
    both = {"a": torch.rand(1, 4, 4), "b": torch.rand(1, 4, 4)}
    words = " ".join(texts_of(visual.draw_panel(images, both, shared="row")))
    assert "lowest to highest value of the maps of each row" in words


def test_boxes_and_masks_are_drawn_in_every_picture_of_their_image():
    box = torch.tensor([[2, 1, 6, 10]])
    mask = torch.zeros(2, HEIGHT, 8, dtype=torch.bool)
    mask[0, 3:7, 2:5] = True
    figure = drawn(["a"], None, boxes=[box, box[:0]], masks=[mask[:1], mask[1:]])
    (axes,) = figure.axes
    frames = [patch.get_bbox() for patch in axes.patches]
    pictures = pictures_of(figure)
    for frame, (left, _, _, top) in zip(frames, (pictures[0][0], pictures[2][0]), strict=True):
        x, y = left + 2 * 14, top + 1 * 14  # a pixel is 14 points wide
        assert (frame.x0, frame.y0, frame.x1, frame.y1) == (x, y, x + 4 * 14, y + 9 * 14)
    outlines = [line.get_paths()[0].vertices for line in axes.collections]
    assert len(outlines) == 2
    for outline, (left, _, _, top) in zip(outlines, (pictures[0][0], pictures[2][0]), strict=True):
        assert np.allclose(outline.min(0), (left + 2 * 14, top + 3 * 14))
        assert np.allclose(outline.max(0), (left + 5 * 14, top + 7 * 14))
    with pytest.raises(cc.CAMError, match="boxes must be 2, one for each image"):
        drawn(["a"], None, boxes=[box])
    with pytest.raises(cc.CAMError, match="masks must be M×H×W"):
        drawn(["a"], None, masks=[mask[:1, :4], mask[1:]])


def test_a_contour_lies_where_the_map_has_its_level():
    ramp = torch.linspace(0, 1, 101).expand(1, 50, 101)
    figure = visual.draw_panel(torch.rand(1, 3, 50, 101), {"a": ramp}, contours=[0.3], smoothing=0)
    (_, ((left, right, _, _), _), *_), (line,) = pictures_of(figure), figure.axes[0].collections
    x = line.get_paths()[0].vertices[:, 0]
    assert np.allclose(x, left + (right - left) * 30.5 / 101)
    with pytest.raises(cc.CAMError, match="contours must be levels"):
        visual.draw_panel(torch.rand(1, 3, 50, 101), {"a": ramp}, contours=[1.5])


def test_text_stays_text_in_files(tmp_path):
    figure = drawn(["gradcam"], ["one", "two"], width=3.25)
    figure.save(tmp_path / "panel.svg")
    text = (tmp_path / "panel.svg").read_text()
    assert "Grad-CAM</text>" in text
    assert f'width="{3.25 * 72:g}pt"' in text
    figure.save(tmp_path / "panel.pdf")
    assert b"/FontFile2" in (tmp_path / "panel.pdf").read_bytes()  # TrueType, not outlines
