"""The colours of maps in a page, which are those of ``captum_cams.visual``."""

import base64
from typing import Any

import numpy as np
from matplotlib import colormaps


def colour_tables() -> dict[str, Any]:
    """Describe how the scripts of a page colour a map.

    With the magnitude v of a value, from 0 to 1, a photograph loses its own colours by the share v^steepness, and the
    colours of the map cover it by the share alpha · v^steepness.

    Returns:
        "sequential", from violet to yellow, and "diverging", from blue to red for maps with both signs: 256 colours
        each, as bytes of red, green and blue in base64; and "alpha" and "steepness".
    """
    tables = {"sequential": _table("plasma", 0.1, 1.0), "diverging": _table("RdBu_r", 0.1, 0.9)}
    return {**tables, "alpha": 0.75, "steepness": 0.6}


def _table(name: str, first: float, last: float) -> str:
    colours = colormaps[name](np.linspace(first, last, 256))[:, :3]
    return base64.b64encode((255 * colours).round().astype(np.uint8).tobytes()).decode()
