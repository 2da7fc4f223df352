"""Pictures: a heat map over an image, and a panel of many. The only file with numpy and matplotlib."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from captum_cams.errors import CAMError, brief, check_finite, check_tensor, shape_of
from captum_cams.images import heat, minmax

_CELL = 224  # pixels of one picture in a panel


def displayable(images: Tensor, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> Tensor:
    """Images N×C×H×W as colours in [0, 1], N×3×H×W.

    Args:
        images: one or three channels; of any other number the mean over channels is shown.
        mean: of the normalisation that is undone, per channel, together with ``std``; without them each image is
            scaled to its own range.
        std: as ``mean``.

    Raises:
        CAMError: not four axes, NaN or Inf, one of ``mean`` and ``std`` without the other, or of another length.
    """
    check_tensor("images", images, "N×C×H×W")
    if images.ndim != 4:
        raise CAMError(f"images must be N×C×H×W, got {shape_of(images)}")
    if (mean is None) != (std is None):
        raise CAMError("mean and std undo the normalisation together; pass both or neither")
    check_finite("images", images)
    images = images.detach().float().cpu()
    if mean is not None and std is not None:
        if {len(mean), len(std)} - {1, images.shape[1]}:
            raise CAMError(
                f"mean and std must have a value for each of {images.shape[1]} channels, got {len(mean)} and {len(std)}"
            )
        shape = (1, -1, 1, 1)
        images = (images * torch.tensor(std).view(shape) + torch.tensor(mean).view(shape)).clamp(0, 1)
    else:
        images = minmax(images, (1, 2, 3))
    if images.shape[1] != 3:
        images = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    return images


def overlay(images: Tensor, maps: Tensor, alpha: float = 0.5, colormap: str = "turbo") -> Tensor:
    """Heat maps over displayable images: N×3×H×W in [0, 1].

    Args:
        images: N×3×H×W in [0, 1].
        maps: N×h×w or N×1×h×w, resized and scaled to [0, 1] one by one.
        alpha: weight of the colours against the image.
        colormap: any of matplotlib's.
    """
    check_tensor("maps", maps, "N×h×w or N×1×h×w")
    maps = maps[:, None] if maps.ndim == 3 else maps
    if images.ndim != 4 or maps.ndim != 4 or maps.shape[:2] != (len(images), 1):
        got = f"{shape_of(images)} and {shape_of(maps)}"
        raise CAMError(f"images must be N×3×H×W and maps N×h×w or N×1×h×w, in this order, got {got}")
    check_finite("maps", maps)
    scaled = heat(maps.detach().float().cpu(), images.shape[-2:])[:, 0]
    colours = torch.from_numpy(colormaps[colormap](scaled.numpy())[..., :3]).float().permute(0, 3, 1, 2)
    return (1 - alpha) * images + alpha * colours


def panel(
    images: Tensor,
    maps: Mapping[str, Tensor],
    captions: Sequence[str],
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> np.ndarray:
    """One row per image: the image, one overlay per method, a caption below. H×W×3, uint8.

    Args:
        images: N×C×H×W as the model saw them.
        maps: method → maps, N×h×w or N×1×h×w.
        captions: N lines.
        mean: see :func:`displayable`.
        std: see :func:`displayable`.
    """
    if not isinstance(maps, Mapping):
        raise CAMError(f'maps must map a method\'s name to its maps, got {brief(maps)}; pass {{"gradcam": maps}}')
    shown = displayable(images, mean, std)
    if len(captions) != len(shown):
        raise CAMError(f"captions must be one for each of {len(shown)} images, got {len(captions)}")
    columns = {"input": shown} | {name: overlay(shown, map_) for name, map_ in maps.items()}
    height, width = shown.shape[-2:]
    cell, whole = round(_CELL * height / width), len(columns) * _CELL
    # TensorBoard shrinks every panel to one width, so the letters grow with the panel: 40 of them fill a line.
    letter = whole / 24
    head = 0.72 * min(letter, 1.4 * _CELL / max(map(len, columns)))  # the longest name fits its column
    line = round(1.3 * letter)
    below = line * max((caption.count("\n") + 1 for caption in captions), default=0)
    total = line + len(shown) * (cell + below)
    figure = Figure(figsize=(whole / 100, total / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    # One picture for all cells: an axes for each would take ten times as long.
    drawn = np.full((total, whole, 3), 255, dtype=np.uint8)
    for column, (name, pictures) in enumerate(columns.items()):
        x = (column + 0.5) / len(columns)
        figure.text(x, 1 - line / 2 / total, name, ha="center", va="center", fontsize=head, weight="bold")
        cells = F.interpolate(pictures, (cell, _CELL - 2), mode="nearest-exact")
        for row, picture in enumerate((cells * 255).round().byte().permute(0, 2, 3, 1).numpy()):
            top = line + row * (cell + below)
            drawn[top : top + cell, column * _CELL : (column + 1) * _CELL - 2] = picture
    figure.figimage(drawn)
    for row, caption in enumerate(captions):
        middle = 1 - (line + row * (cell + below) + cell + below / 2) / total
        figure.text(0.01, middle, caption, va="center", fontsize=letter * 0.72, parse_math=False)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def curves(curves: Mapping[str, tuple[Tensor, Tensor]], quantity: str = "probability") -> np.ndarray:
    """Two plots, one above the other, of the deletion and of the insertion curve of each method. H×W×3, uint8.

    Args:
        curves: method → (deletion, insertion), each (steps + 1) probabilities over equal shares of the pixels.
        quantity: what they are, if not probabilities.
    """
    # Large letters: TensorBoard shows a figure at a third of its size.
    figure = Figure(figsize=(6.4, 9.6), dpi=100)
    figure.subplots_adjust(0.13, 0.07, 0.95, 0.96, hspace=0.3)
    canvas = FigureCanvasAgg(figure)
    size = 15 if len(curves) < 4 else 8
    # Colour and dash together tell more methods apart than either.
    styles = [(colour, dash) for dash in ("-", "--", ":") for colour in colormaps["tab10"].colors]  # type: ignore[attr-defined]
    for axes, title, which in zip(figure.subplots(2, 1), ("deletion", "insertion"), (0, 1), strict=True):
        for (name, pair), (colour, dash) in zip(curves.items(), cycle(styles), strict=False):
            values = pair[which].detach().float().cpu()
            shares = torch.linspace(0, 100, len(values))
            label = f"{name} {torch.trapezoid(values) / (len(values) - 1):.3f}"
            axes.plot(shares.numpy(), values.numpy(), color=colour, linestyle=dash, linewidth=2, label=label)
        axes.set_title(f"{title} (area)", fontsize=18)
        axes.set_xlabel(f"pixels {('deleted', 'inserted')[which]} (%)", fontsize=15)
        axes.set_ylabel(quantity, fontsize=15)
        axes.tick_params(labelsize=13)
        axes.set_xlim(0, 100)
        if quantity == "probability":
            axes.set_ylim(0, None)
        axes.legend(fontsize=size)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
