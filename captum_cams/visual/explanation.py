"""An explanation as a record that shows itself."""

from dataclasses import dataclass
from os import PathLike
from typing import Any

from matplotlib.axes import Axes
from torch import Tensor

from captum_cams.visual.captions import Caption
from captum_cams.visual.drawing import Drawing
from captum_cams.visual.maps import draw_map
from captum_cams.visual.overlays import Region
from captum_cams.visual.panels import draw_panel


@dataclass(frozen=True, eq=False)
class Explanation:
    """One explained image: the photograph, the map and the class, which a notebook shows as a picture.

    Args:
        image: the photograph 3×H×W in [0, 1], at its own size.
        map: the map h×w, as the method made it.
        method: the name of the method as its paper writes it.
        caption: the class, its probability, and whether the prediction is right.
        classes: the classes with the highest probabilities, with their names, the most probable first; empty if the
            score has no classes.
        region: the part of the photograph that the map covers, (x0, y0, x1, y1) in pixels; None for all of it.

    Example::

        explanation = cc.show(model, images[0])
        explanation.save("explained.png")
        print(explanation.caption.text, explanation.classes)
    """

    image: Tensor
    map: Tensor
    method: str
    caption: Caption
    classes: tuple[tuple[str, float], ...] = ()
    region: Region | None = None

    def draw(self, *, width: float | None = 6.75, **options: Any) -> Drawing:
        """Draw the photograph beside the map over the photograph.

        Args:
            width: of the figure in inches.
            **options: the further arguments of :func:`draw_panel`, such as ``theme="dark"`` or ``contours=[0.5]``.

        Returns:
            The figure.
        """
        options = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "region": self.region, **options}
        return draw_panel(self.image[None], {self.method: self.map[None]}, [self.caption], width=width, **options)

    def draw_in(self, ax: Axes, **options: Any) -> None:
        """Draw the map over the photograph into axes of matplotlib.

        Args:
            ax: the axes.
            **options: the further arguments of :func:`draw_map`.
        """
        draw_map(self.image, self.map, ax, region=self.region, **options)

    def save(self, file: str | PathLike[str], **options: Any) -> None:
        """Write the picture to a file: .png, or .pdf and .svg, in which text stays text.

        Args:
            file: the path of the file.
            **options: the arguments of :meth:`draw`.
        """
        self.draw(**options).save(file)

    def _repr_png_(self) -> bytes | None:
        return self.draw()._repr_png_()

    def __repr__(self) -> str:
        height, width = self.image.shape[1:]
        return f"Explanation({self.method} of {width}×{height} pixels: {self.caption.mark}{self.caption.text})"
