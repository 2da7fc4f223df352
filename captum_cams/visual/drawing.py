"""Figures whose unit is the point, and arrays of pixels; both show themselves in notebooks."""

import io
from os import PathLike
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from captum_cams.visual.text import LINE, font
from captum_cams.visual.theme import Theme, inks

Box = tuple[float, float, float, float]
"""Left, top, right and bottom of a picture in the units of its axes."""

DPI = 144  # two pixels for each point


class Picture(np.ndarray[Any, Any]):
    """An array of pixels H×W×3, with integers from 0 to 255, which a notebook shows as a picture.

    Example::

        from captum_cams import visual

        picture = visual.panel(images, {"gradcam": cc.GradCAM(model, "layer4").attribute(images)}, ["first", "second"])
        picture.save("panel.png")
    """

    def save(self, file: str | PathLike[str]) -> None:
        """Write the picture to a file, whose ending says in which form, such as .png.

        Args:
            file: the path of the file.
        """
        Image.fromarray(np.asarray(self)).save(file)

    def _repr_png_(self) -> bytes | None:
        if self.ndim != 3 or self.dtype != np.uint8:
            return None
        file = io.BytesIO()
        Image.fromarray(np.asarray(self)).save(file, "png")
        return file.getvalue()


class Drawing(Figure):
    """A figure of matplotlib without a window, which a notebook shows and which is saved with its text as text.

    Args:
        width: in points, 72 for an inch.
        height: in points.
        theme: as in :func:`draw_panel`.

    Example::

        from captum_cams import visual

        maps = cc.GradCAM(model, "layer4").attribute(images)
        drawing = visual.draw_panel(images, {"gradcam": maps}, ["first", "second"], width=3.25)
        drawing.save("panel.pdf")  # or .svg, .png
        assert drawing.pixels().shape[2] == 3
    """

    def __init__(self, width: float, height: float, theme: Theme = "light") -> None:
        super().__init__(figsize=(width / 72, height / 72), dpi=DPI, facecolor=inks(theme).page)
        FigureCanvasAgg(self)
        self.theme = theme
        self.width, self.height = width, height

    def sheet(self) -> Axes:
        """Axes over the whole figure, in points from its upper left corner."""
        axes = self.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        axes.set_autoscale_on(False)
        return axes

    def pixels(self) -> Picture:
        """Draw the figure with two pixels for each point.

        Returns:
            The picture H×W×3, with integers from 0 to 255.
        """
        canvas = FigureCanvasAgg(self)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy().view(Picture)

    def save(self, file: str | PathLike[str]) -> None:
        """Write the figure to a file, whose ending says in which form: .pdf and .svg for papers, or .png.

        Args:
            file: the path of the file.
        """
        with rc_context({"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none"}):  # text stays text
            self.savefig(file, dpi=2 * DPI, facecolor=self.get_facecolor())

    def _repr_png_(self) -> bytes | None:
        return self.pixels()._repr_png_()


def put_picture(axes: Axes, picture: Tensor, box: Box) -> None:
    """Draw a picture 3×H×W in [0, 1] into a box, without a change of the limits of the axes."""
    left, top, right, bottom = box
    pixels = (picture * 255).round().byte().permute(1, 2, 0).numpy()
    axes.imshow(pixels, extent=(left, right, bottom, top), aspect="auto")


def put_lines(axes: Axes, lines: list[str], left: float, top: float, colour: str, *, bold: bool = False) -> None:
    """Write lines of text below one another, from their upper left corner."""
    for number, line in enumerate(lines):
        if line:
            y = top + (number + 0.5) * LINE
            axes.text(left, y, line, va="center_baseline", color=colour, fontproperties=font(bold), parse_math=False)
