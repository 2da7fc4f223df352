"""The colour bar of a panel, with the words that say what its colours mean."""

from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from torch import Tensor

from captum_cams.visual.colours import ALPHA, paint
from captum_cams.visual.drawing import put_lines, put_picture
from captum_cams.visual.scale import Shared
from captum_cams.visual.text import LINE, wrapped
from captum_cams.visual.theme import LETTER, Inks

_WIDTH, _GAP = 54.0, 6.0
_OF = {"each": "each map", "row": "the maps of each row", "column": "the maps of each column", "all": "all maps"}
_OF_ONE = "the map"


@dataclass(frozen=True)
class Bar:
    """The colours of maps with one kind of scale.

    Args:
        signed: whether zero is in the middle.
        shared: which maps have one scale.
        alpha: as in :func:`paint`.
        colormap: as in :func:`palette`.
        single: whether there is one map only.
    """

    signed: bool
    shared: Shared = "each"
    alpha: float = ALPHA
    colormap: str | None = None
    single: bool = False

    def colours(self, count: int = 256) -> Tensor:
        """The colours over a grey picture, from the lowest to the highest value, count×3."""
        values = torch.linspace(-1.0 if self.signed else 0.0, 1, count).view(1, 1, 1, count)
        grey = torch.full((1, 3, 1, count), 0.5)
        return paint(grey, values, self.signed, self.alpha, self.colormap)[0, :, 0].T

    @property
    def words(self) -> str:
        """What the ends mean."""
        of = _OF_ONE if self.single else _OF[self.shared]
        if self.signed:
            return f"negative to positive, zero in the middle, up to the largest magnitude of {of}"
        return f"lowest to highest value of {of}"


def bar_lines(bar: Bar, width: float) -> list[str]:
    """The words beside the bar, wrapped to what the bar leaves of this width in points."""
    return wrapped(bar.words, width - _WIDTH - _GAP)


def put_bar(axes: Axes, bar: Bar, left: float, top: float, width: float, colours: Inks) -> None:
    """Draw a bar with its words to the right, from its upper left corner, in points."""
    box = (left, top + (LINE - LETTER) / 2, left + _WIDTH, top + (LINE + LETTER) / 2)
    put_picture(axes, bar.colours().T[:, None], box)
    put_lines(axes, bar_lines(bar, width), left + _WIDTH + _GAP, top, colours.quiet)
