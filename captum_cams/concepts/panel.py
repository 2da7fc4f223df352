"""Draw the concepts of a batch over its images."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from captum_cams.errors import CAMError, check_tensor, shape_of
from captum_cams.images import upsample
from captum_cams.visual import displayable

_CELL = 224  # pixels of one picture
_COVER = 0.8  # how much a map of 1 covers the image


def palette(count: int) -> Tensor:
    """Choose one colour for each concept, K'×3 in [0, 1], as far apart in hue as they can be."""
    return torch.tensor([colormaps["hsv"](number / count)[:3] for number in range(count)], dtype=torch.float32)


def coloured(shown: Tensor, maps: Tensor) -> Tensor:
    """Draw the strongest concept of each pixel over an image in grey.

    Args:
        shown: N×3×H×W in [0, 1].
        maps: N×K'×h×w in [0, 1]. They are not scaled, so that the images of a batch can be compared.

    Returns:
        The pictures N×3×H×W in [0, 1].
    """
    strength, strongest = upsample(maps.detach().float().cpu(), shown.shape[2:]).max(1)
    colours = palette(maps.shape[1])[strongest].movedim(-1, 1)
    cover = _COVER * strength[:, None]
    return (1 - cover) * shown.mean(1, keepdim=True) + cover * colours


def draw(
    images: Tensor,
    maps: Tensor,
    legend: Sequence[str],
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> np.ndarray:
    """Draw each image beside its concepts, and the legend below.

    Args:
        images: N×C×H×W.
        maps: N×K'×h×w in [0, 1].
        legend: one line for each concept.
        mean: as in :func:`displayable`.
        std: as in :func:`displayable`.

    Returns:
        The picture H×W×3, with integers from 0 to 255.

    Raises:
        CAMError: the images are not N×C×H×W, or not as many as the maps.
    """
    check_tensor("images", images, "N×C×H×W")
    if images.ndim != 4 or maps.ndim != 4 or len(images) != len(maps):
        raise CAMError(
            f"a panel needs images N×C×H×W and maps N×K'×h×w, got {shape_of(images)} and {shape_of(maps)}; pass the "
            "images whose concepts these are (volumes and signals have no panel)"
        )
    shown = displayable(images, mean, std)
    height, width = shown.shape[2:]
    cell, whole = round(_CELL * height / width), 2 * _CELL
    letter = min(whole / 24, (whole - 40) / (0.6 * max(map(len, legend))))  # pixels; the longest line fits
    line = round(1.5 * letter)
    below = len(shown) * cell
    total = below + len(legend) * line + line // 2
    drawn = np.full((total, whole, 3), 255, dtype=np.uint8)
    for column, pictures in enumerate((shown, coloured(shown, maps))):
        cells = F.interpolate(pictures, (cell - 2, _CELL - 2), mode="nearest-exact")
        for row, picture in enumerate((cells * 255).round().byte().permute(0, 2, 3, 1).numpy()):
            drawn[row * cell : (row + 1) * cell - 2, column * _CELL : (column + 1) * _CELL - 2] = picture
    figure = Figure(figsize=(whole / 100, total / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    figure.figimage(drawn)
    for number, (text, colour) in enumerate(zip(legend, palette(len(legend)).tolist(), strict=True)):
        middle = 1 - (below + line // 4 + (number + 0.5) * line) / total
        size = (letter / whole, letter / total)
        square = Rectangle((8 / whole, middle - size[1] / 2), *size, color=colour, transform=figure.transFigure)
        figure.add_artist(square)
        x = (16 + letter) / whole
        figure.text(x, middle, text, va="center_baseline", fontsize=letter * 0.72, parse_math=False)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
