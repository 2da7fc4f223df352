"""The table of an evaluation as notebooks show it."""

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from io import BytesIO

import numpy as np
from PIL import Image
from torch import Tensor

from captum_cams import title, visual


def table_html(markdown: str, curves: Mapping[str, Tensor]) -> str:
    """Write a table in HTML, with the names of methods as their papers write them and the curves below.

    Args:
        markdown: the table in Markdown, and perhaps text after an empty line.
        curves: method → mean deletion and insertion curve, 2×(steps + 1); may be empty.

    Returns:
        A part of a page, without scripts and without links.
    """
    table, _, below = markdown.partition("\n\n")
    head, _, *rows = ([cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines())
    lines = [f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>"]
    for name, *cells in rows:
        values = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr><th style="text-align: left">{escape(title(name))}</th>{values}</tr>')
    parts = [f"<table>{''.join(lines)}</table>"]
    if below:
        parts.append(f"<p>{escape(below)}</p>")
    if curves:
        drawn, file = visual.curves({name: (both[0], both[1]) for name, both in curves.items()}, "score"), BytesIO()
        Image.fromarray(np.asarray(drawn)).save(file, "png")
        encoded = b64encode(file.getvalue()).decode()
        parts.append(f'<img alt="deletion and insertion curves" src="data:image/png;base64,{encoded}">')
    return "".join(parts)
