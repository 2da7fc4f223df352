"""The table and the panel of concepts that are written by hand."""

import re

import matplotlib as mpl
import pytest
import torch

import captum_cams as cc

CELL = 224  # pixels of one picture in a panel, the last two of them a gap
NAMES = ["ant", "bee", "cat", "dog"]


def record() -> cc.Concepts:
    """Two images and three concepts: each has a third of the first image, and the second image has little of one."""
    maps = torch.zeros(2, 3, 3, 3)
    for k in range(3):
        maps[0, k, :, k] = 1
    maps[1, 1] = 0.1
    scores = torch.tensor([[1.0, 4.0, 2.0, 3.0], [9.0, -1.0, 0.0, 2.0], [0.0, 0.5, 0.25, 0.125]])
    return cc.Concepts(maps, torch.ones(3, 5), scores, torch.tensor([0.5, 0.3, 0.2]), 0.25)


def test_the_table():
    assert repr(record()) == record().table()
    assert record().table(NAMES, top=2).splitlines() == [
        "concept  share  highest scores",
        "1        50%    bee 4.00, dog 3.00",
        "2        30%    ant 9.00, dog 2.00",
        "3        20%    bee 0.50, cat 0.25",
        "error 0.250",
    ]


def test_the_best_classes():
    numbers = record().best(top=9)
    assert [name for name, _ in numbers[0]] == ["1", "3", "2", "0"]
    assert record().best(dict(enumerate(NAMES)), 1) == [[("bee", 4.0)], [("ant", 9.0)], [("bee", 0.5)]]
    with pytest.raises(cc.CAMError, match="a name for each of 4 classes, got 3"):
        record().table(NAMES[:3])
    with pytest.raises(cc.CAMError, match="top must be"):
        record().best(top=0)


def test_the_panel_has_one_scale_and_one_colour_for_each_concept():
    images = torch.full((2, 3, 3, 3), 0.5)
    picture = torch.from_numpy(record().panel(images, NAMES, mean=[0.0], std=[1.0])).float() / 255
    assert picture.shape[1] == 2 * CELL
    assert picture.shape[0] > 2 * CELL
    colours = torch.tensor([mpl.colormaps["hsv"](k / 3)[:3] for k in range(3)], dtype=torch.float32)
    for k, x in enumerate((10, CELL // 2, CELL - 12)):
        torch.testing.assert_close(picture[CELL // 2, x], torch.full((3,), 0.5), rtol=0, atol=0.01)
        expected = 0.2 * 0.5 + 0.8 * colours[k]
        torch.testing.assert_close(picture[CELL // 2, CELL + x], expected, rtol=0, atol=0.02)
        # In the second image the same concept is a tenth as strong everywhere.
        expected = (1 - 0.08) * 0.5 + 0.08 * colours[1]
        torch.testing.assert_close(picture[CELL + CELL // 2, CELL + x], expected, rtol=0, atol=0.01)
    legend = picture[2 * CELL :]
    for colour in colours:
        assert ((legend - colour).abs().amax(-1) < 0.02).sum() > 50


def test_the_legend_has_shares_and_names(monkeypatch):
    written = []
    text = mpl.figure.Figure.text
    monkeypatch.setattr(
        mpl.figure.Figure, "text", lambda self, x, y, s, **kw: written.append(s) or text(self, x, y, s, **kw)
    )
    record().panel(torch.rand(2, 3, 6, 6), [f"a very long name of class {name}" for name in NAMES], top=2)
    found = [re.findall(r"\d+%|ant|bee|cat|dog", line) for line in written]
    assert found == [["50%", "bee", "dog"], ["30%", "ant", "dog"], ["20%", "bee", "cat"]]


@pytest.mark.parametrize("shape", [(3, 3, 6, 6), (2, 3, 6), (2, 3, 4, 6, 6)])
def test_other_images_are_refused(shape):
    with pytest.raises(cc.CAMError, match="pass the images whose concepts these are"):
        record().panel(torch.rand(shape))
