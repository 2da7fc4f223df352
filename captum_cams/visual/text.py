"""Wrap texts of one fixed size of letters, so that they are never cut."""

from functools import cache, lru_cache

from matplotlib import rcParams
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

from captum_cams.visual.theme import LETTER

LINE = 1.3 * LETTER
"""The distance between two lines in points."""
_SPARE = 1.03  # letters are a little wider at some resolutions than at others


def font(bold: bool = False) -> FontProperties:
    """The user's font, or matplotlib's own for letters that it does not have, such as the marks ✓ and ✗."""
    weight = "bold" if bold else "normal"
    return FontProperties(family=[*rcParams["font.family"], "DejaVu Sans"], size=LETTER, weight=weight)


def width_of(text: str, bold: bool = False) -> float:
    """The width of one line of text in points, with the space at its end."""
    return _SPARE * _width(text, bold, tuple(rcParams["font.family"]))


@lru_cache(maxsize=4096)
def _width(text: str, bold: bool, family: tuple[str, ...]) -> float:
    return float(_renderer().get_text_width_height_descent(text, font(bold), False)[0]) if text else 0.0


def wrapped(text: str, width: float, bold: bool = False) -> list[str]:
    """Break a text into lines of at most this width in points, between words, or within a word that is too long."""
    return [line for part in text.split("\n") for line in _lines(part, width, bold)]


def _lines(text: str, width: float, bold: bool) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if width_of(longer, bold) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        while len(word) > 1 and width_of(word, bold) > width:
            fits = max(1, sum(width_of(word[: end + 1], bold) <= width for end in range(len(word))))
            end = word.rfind("-", 1, fits) + 1 or fits
            lines.append(word[:end])
            word = word[end:]
        line = word
    return [*lines, line] if line or not lines else lines


@cache
def _renderer() -> RendererAgg:
    return RendererAgg(1, 1, 72)  # at 72 pixels per inch, a pixel is a point
