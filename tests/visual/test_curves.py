"""Curves: their values, their areas, their styles, and their place on the page."""

import numpy as np
import pytest
import torch

from captum_cams import visual


def test_curves_are_drawn_in_their_axes_with_their_areas():
    falling, rising = torch.tensor([1.0, 0.5, 0.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0])
    flat = torch.full((5,), 0.25)
    figure = visual.draw_curves({"gradcam": (falling, rising), "mine": (flat, flat)})
    left, right = figure.axes
    for axes, which, areas in ((left, "deletion", (0.25, 0.25)), (right, "insertion", (0.625, 0.25))):
        assert which in axes.get_title("left")
        assert {"deletion": "deleted", "insertion": "inserted"}[which] in axes.get_xlabel()
        assert axes.get_xlim() == (0, 100)
        assert axes.get_ylim() == left.get_ylim()
        assert axes.get_ylim()[0] == 0
        lines = axes.get_lines()
        expected = (falling if which == "deletion" else rising), flat
        for line, values in zip(lines, expected, strict=True):
            assert np.allclose(line.get_xdata(), [0, 25, 50, 75, 100])
            assert np.allclose(line.get_ydata(), values)
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels == [f"{name} {area:.3f}" for name, area in zip(("Grad-CAM", "mine"), areas, strict=True)]
        assert axes.get_ylabel() == "probability"
    colours = [[line.get_color() for line in axes.get_lines()] for axes in (left, right)]
    assert colours[0] == colours[1]  # a method has one colour in both
    assert colours[0][0] != colours[0][1]


@pytest.mark.parametrize(("width", "count"), [(6.75, 12), (3.25, 3)])
def test_styles_differ_and_nothing_leaves_the_page(width, count):
    values = -torch.ones(3)
    figure = visual.draw_curves({f"method {i}": (values, values) for i in range(count)}, "value", width=width)
    figure.pixels()
    for axes in figure.axes:
        assert len({(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}) == count
        assert axes.get_ylim()[0] < -1
        box = axes.get_tightbbox()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
        (label,) = [axes.xaxis.label.get_window_extent()]
        legend = axes.get_legend().get_window_extent()
        assert legend.y1 <= label.y0
        assert {text.get_fontsize() for text in axes.get_legend().get_texts()} == {8.0}
    first, second = (axes.get_tightbbox() for axes in figure.axes)
    assert second.x0 >= first.x1 if width > 5 else second.y1 <= first.y0


def test_the_pixels_of_curves_show_themselves():
    picture = visual.curves({"gradcam": (torch.ones(3), torch.zeros(3))}, theme="dark")
    assert picture.shape[2] == 3
    assert picture._repr_png_()[1:4] == b"PNG"
    assert picture[0, 0].max() < 64  # a dark page
