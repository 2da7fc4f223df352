"""The colours of maps in a page: for each byte of a map, a colour and how much it covers the photograph."""

import base64

import numpy as np
from matplotlib import colormaps


def colour_tables() -> dict[str, str]:
    """Make the colour tables of maps.

    Returns:
        "sequential", for maps from 0 to their maximum, and "diverging", for maps with 0 in the middle: 256 colours with
        red, green, blue and opacity, one byte each, in base64.
    """
    level = np.linspace(0, 1, 256)
    return {"sequential": _table("magma", level), "diverging": _table("RdBu_r", abs(2 * level - 1))}


def _table(name: str, opacity: np.ndarray) -> str:
    colours = colormaps[name](np.linspace(0, 1, 256))
    colours[:, 3] = np.clip(1.4 * opacity, 0, 0.9)
    return base64.b64encode((255 * colours).round().astype(np.uint8).tobytes()).decode()
