"""The text below an image, marked as right or wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from captum_cams.visual.drawing import put_lines
from captum_cams.visual.text import LINE, width_of, wrapped
from captum_cams.visual.theme import Inks


@dataclass(frozen=True)
class Caption:
    """A text below an image, with a mark that says whether the prediction is right.

    Args:
        text: what is written; it is wrapped to the width of the picture.
        right: True puts a tick before the text, False a cross, and None nothing.

    Example::

        from captum_cams import visual

        maps = cc.GradCAM(model, "layer4").attribute(images)
        captions = [visual.Caption("red fox, p = 0.86", right=True), visual.Caption("kit fox, p = 0.40", right=False)]
        picture = visual.panel(images, {"gradcam": maps}, captions)
    """

    text: str
    right: bool | None = None

    @property
    def mark(self) -> str:
        """The sign before the text."""
        return "" if self.right is None else "✓ " if self.right else "✗ "

    def lines(self, width: float) -> list[str]:
        """The lines of the text at this width in points; the first has room for the mark."""
        found = wrapped(self.text, width - width_of(self.mark, bold=True)) if self.text else []
        return found or [""] * bool(self.mark)


def as_captions(captions: Sequence[str | Caption]) -> list[Caption]:
    """Texts as captions without a mark."""
    return [one if isinstance(one, Caption) else Caption(one) for one in captions]


def put_caption(axes: Axes, caption: Caption, left: float, top: float, width: float, colours: Inks) -> None:
    """Write a caption from its upper left corner, in points."""
    lines = caption.lines(width)
    if caption.mark:
        put_lines(axes, [caption.mark.strip()], left, top, colours.right if caption.right else colours.wrong, bold=True)
    put_lines(axes, lines, left + width_of(caption.mark, bold=True), top, colours.text)


def height_of(caption: Caption, width: float) -> float:
    """The height of a caption in points."""
    return LINE * len(caption.lines(width))
