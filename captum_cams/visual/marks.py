"""Draw contours, the outlines of masks, boxes and the frame of a region over pictures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, withStroke
from torch import Tensor

from captum_cams.errors import CAMError
from captum_cams.visual.drawing import Box

_LINE, _CASING = 0.9, 2.1  # widths in points: white lines with dark edges are seen on every photograph


def _cased() -> list[Any]:
    return [withStroke(linewidth=_CASING, foreground="#000000a0"), Normal()]


def put_contours(axes: Axes, values: Tensor, levels: Sequence[float], box: Box) -> None:
    """Draw the lines on which scaled values H×W have these levels; of signed maps, negative levels are dashed.

    Raises:
        CAMError: a level is not above −1 and below 1, or is zero.
    """
    if not all(0 < abs(level) < 1 for level in levels):
        raise CAMError(f"contours must be levels between 0 and 1 (of signed maps also −1 to 0), got {tuple(levels)}")
    left, top, right, bottom = box
    height, width = values.shape
    x = left + (np.arange(width) + 0.5) * (right - left) / width
    y = top + (np.arange(height) + 0.5) * (bottom - top) / height
    for level in sorted(levels):
        if values.min() < level < values.max():
            style = "--" if level < 0 else "-"
            drawn = axes.contour(x, y, values.numpy(), [level], colors="white", linewidths=_LINE, linestyles=style)
            drawn.set_path_effects(_cased())


def put_outline(axes: Axes, mask: Tensor, box: Box) -> None:
    """Draw the outline of a mask H×W."""
    if bool(mask.any()):
        padded = torch.nn.functional.pad(mask.float(), (1, 1, 1, 1))  # so that lines close at the border
        left, top, right, bottom = box
        height, width = mask.shape
        across, down = (right - left) / width, (bottom - top) / height
        put_contours(axes, padded, [0.5], (left - across, top - down, right + across, bottom + down))


def put_boxes(axes: Axes, boxes: Tensor, size: Sequence[int], box: Box) -> None:
    """Draw boxes B×4, (x0, y0, x1, y1) in pixels of the image, whose size is H×W."""
    left, top, right, bottom = box
    across, down = (right - left) / size[1], (bottom - top) / size[0]
    for x0, y0, x1, y1 in boxes.tolist():
        corner = (left + x0 * across, top + y0 * down)
        frame = Rectangle(corner, (x1 - x0) * across, (y1 - y0) * down, fill=False, edgecolor="white", linewidth=_LINE)
        frame.set_path_effects(_cased())
        axes.add_patch(frame)


def put_region(axes: Axes, region: Sequence[int], size: Sequence[int], box: Box) -> None:
    """Draw the dashed frame of the part of the image that the map covers."""
    before = len(axes.patches)
    put_boxes(axes, torch.tensor([list(region)]), size, box)
    axes.patches[before].set_linestyle((0, (4, 3)))
