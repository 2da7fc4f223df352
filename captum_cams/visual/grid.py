"""Lay out pictures in columns and rows, with titles above, captions below and colour bars at the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from matplotlib.axes import Axes
from torch import Tensor

from captum_cams.errors import CAMError
from captum_cams.visual.bars import Bar, bar_lines, put_bar
from captum_cams.visual.captions import Caption, height_of, put_caption
from captum_cams.visual.cells import Marks, Objects, put_cell
from captum_cams.visual.drawing import Drawing, put_lines
from captum_cams.visual.text import LINE, wrapped
from captum_cams.visual.theme import LETTER, Theme, inks

CELL = 112.0
"""The width of a picture in points, unless the width of the figure is given."""
_MARGIN, _GAP, _ROOM = 8.0, 4.0, 3.0
_NARROWEST = 4 * LETTER
_SIGNS = ("*", "†", "‡", "§", "¶", "**", "††", "‡‡")  # lead from a title to its note


@dataclass(frozen=True)
class Column:
    """One column of pictures.

    Args:
        title: the name of the method.
        note: what was done to its maps, which is written below the pictures; may be empty.
        pictures: N×P×3×H×W in [0, 1], P pictures below one another for each image.
        values: the scaled maps N×P×H×W; None for the images themselves.
    """

    title: str
    note: str
    pictures: Tensor
    values: Tensor | None = None


@dataclass(frozen=True)
class Grid:
    """Columns of pictures with what is written and drawn around them.

    Args:
        columns: from left to right, with as many pictures each.
        captions: one for each image.
        bars: the colour bars below.
        marks: what is drawn over the maps.
        objects: what is annotated in each image, or None.
    """

    columns: Sequence[Column]
    captions: Sequence[Caption]
    bars: Sequence[Bar]
    marks: Marks
    objects: Sequence[Objects] | None = None

    def draw(self, width: float | None = None, theme: Theme = "light") -> Drawing:
        """Draw the grid.

        Args:
            width: of the figure in inches; None makes each picture 1.56 inches wide.
            theme: "light" or "dark".

        Raises:
            CAMError: the width is too small for the columns.
        """
        count, (parts, _, high, wide) = len(self.columns), self.columns[0].pictures.shape[1:]
        around = 2 * _MARGIN + (count - 1) * _GAP
        cell = CELL if width is None else (72 * width - around) / count
        if cell < _NARROWEST:
            least = (around + count * _NARROWEST) / 72
            raise CAMError(f"{count} columns need a width of {least:.2f} inches or more, got {width}; pass more")
        whole, tall = around + count * cell, round(2 * cell * high / wide) / 2  # half points are whole pixels
        text = whole - 2 * _MARGIN
        signs = dict(zip(dict.fromkeys(column.note for column in self.columns if column.note), _SIGNS, strict=False))
        heads = [wrapped(column.title + signs.get(column.note, ""), cell, bold=True) for column in self.columns]
        head = ceil(LINE * max(map(len, heads))) + _ROOM
        pictures = parts * tall + (parts - 1) * _GAP
        below = [ceil(height_of(caption, text)) + _ROOM * bool(caption.lines(text)) for caption in self.captions]
        feet = [ceil(LINE * len(bar_lines(bar, text))) + _ROOM for bar in self.bars]
        said = [*(f"{sign} {note}" for note, sign in signs.items()), *self.marks.words]
        remarks = wrapped("; ".join(said), text)
        tops = [_MARGIN + head]
        for each in below:
            tops.append(tops[-1] + pictures + each + _GAP)
        drawing = Drawing(whole, tops[-1] + sum(feet) + ceil(LINE * len(remarks)) * bool(remarks[0]) + _MARGIN, theme)
        axes, colours = drawing.sheet(), inks(theme)
        for number, (column, lines) in enumerate(zip(self.columns, heads, strict=True)):
            left = _MARGIN + number * (cell + _GAP)
            top = tops[0] - _ROOM - len(lines) * LINE  # the last line is just above the pictures
            put_lines(axes, lines, left, top, colours.text, bold=True)
            self._put_column(axes, column, left, cell, tall, tops)
        for caption, top in zip(self.captions, tops, strict=False):
            put_caption(axes, caption, _MARGIN, top + pictures + _ROOM, text, colours)
        bottom = tops[-1]
        for bar, height in zip(self.bars, feet, strict=True):
            put_bar(axes, bar, _MARGIN, bottom, text, colours)
            bottom += height
        put_lines(axes, remarks, _MARGIN, bottom, colours.quiet)
        return drawing

    def _put_column(
        self, axes: Axes, column: Column, left: float, cell: float, tall: float, tops: Sequence[float]
    ) -> None:
        for row, pictures in enumerate(column.pictures):
            for part, picture in enumerate(pictures):
                top = tops[row] + part * (tall + _GAP)
                values = None if column.values is None else column.values[row, part]
                objects = None if self.objects is None else self.objects[row]
                put_cell(axes, picture, values, (left, top, left + cell, top + tall), self.marks, objects)
