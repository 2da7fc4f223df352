"""The colours and the letters of pictures, on light and on dark pages."""

from dataclasses import dataclass
from typing import Literal

from captum_cams.errors import check_choice

Theme = Literal["light", "dark"]
"""Whether a picture is for a light or a dark page."""

LETTER = 8.0
"""The size of all letters in points, as in the captions of papers."""


@dataclass(frozen=True)
class Inks:
    """The colours of a theme; right and wrong can be told apart in grey and with colour blindness, by their marks too.

    Args:
        page: the background.
        text: letters that matter.
        quiet: letters that explain.
        right: the mark of a right prediction.
        wrong: the mark of a wrong prediction.
    """

    page: str
    text: str
    quiet: str
    right: str
    wrong: str


_INKS = {
    "light": Inks("#ffffff", "#1a1a1a", "#5f5f5f", "#00795a", "#b84a00"),
    "dark": Inks("#16181c", "#f0f0f0", "#a3a8b0", "#3dd6a6", "#ff9a57"),
}


def inks(theme: Theme) -> Inks:
    """The colours of a theme.

    Raises:
        CAMError: there is no such theme.
    """
    check_choice("theme", theme, Theme)
    return _INKS[theme]
