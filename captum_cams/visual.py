"""Draw maps over images, panels of several methods, and deletion and insertion curves.

Except for this file, ``concepts/panel.py``, ``benchmark/radar.py`` and ``statistics/rank_figure.py``, no file of the
package draws with matplotlib.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from captum_cams.errors import CAMError, brief, check_at_least, check_finite, check_tensor, shape_of
from captum_cams.images import heat, look_channels_last, minmax

_CELL = 224  # pixels of one picture in a panel


def displayable(images: Tensor, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> Tensor:
    """Make images that a display can show from images that a model takes.

    Args:
        images: N×C×H×W, N×H×W×C with one, three or four channels, or volumes or clips N×C×D×H×W. Images with three
            channels keep their colours; otherwise the mean over the channels is shown in grey.
        mean: the mean that the normalisation subtracted, one value for each channel. With ``mean`` and ``std``, the
            normalisation is undone; without them, each image is scaled to its own minimum and maximum.
        std: the standard deviation that the normalisation divided by, one value for each channel.

    Returns:
        The images with three channels, in [0, 1], on the CPU.

    Raises:
        CAMError: the images do not have four or five dimensions or contain NaN or Inf, only one of ``mean`` and ``std``
            is given, or their length is not the number of channels.

    Example::

        from captum_cams import visual

        shown = visual.displayable(images, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
        assert 0 <= shown.min() and shown.max() <= 1
    """
    check_tensor("images", images, "N×C×H×W")
    if images.ndim not in (4, 5):
        remedy = "; signals have no picture, so draw the heat map as a line" if images.ndim == 3 else ""
        raise CAMError(f"images must be N×C×H×W, or volumes N×C×D×H×W, got {shape_of(images)}{remedy}")
    if (mean is None) != (std is None):
        raise CAMError("mean and std must be given together, got only one; pass both, or neither")
    check_finite("images", images)
    images = images.movedim(-1, 1) if look_channels_last(images) else images
    images = images.detach().float().cpu()
    if mean is not None and std is not None:
        if {len(mean), len(std)} - {1, images.shape[1]}:
            raise CAMError(
                f"mean and std must have a value for each of {images.shape[1]} channels, got {len(mean)} and {len(std)}"
            )
        shape = (1, -1, *[1] * (images.ndim - 2))
        images = (images * torch.tensor(std).view(shape) + torch.tensor(mean).view(shape)).clamp(0, 1)
    else:
        images = minmax(images, tuple(range(1, images.ndim)))
    if images.shape[1] != 3:
        images = images.mean(1, keepdim=True).expand(-1, 3, *images.shape[2:])
    return images


def overlay(images: Tensor, maps: Tensor, alpha: float = 0.5, colormap: str = "turbo") -> Tensor:
    """Draw each map in colour over its image.

    Args:
        images: N×3×H×W or N×3×D×H×W in [0, 1], as :func:`displayable` makes them.
        maps: N×h×w or N×1×h×w (N×d×h×w or N×1×d×h×w for volumes), of any size. Each map is resized to its image and
            scaled to [0, 1]; the map of a volume is scaled as a whole, so that its slices can be compared.
        alpha: how much the colours cover the image, from 0 (the image alone) to 1 (the colours alone).
        colormap: the name of a colour map of matplotlib.

    Returns:
        The pictures in [0, 1] on the CPU, with the shape of ``images``.

    Raises:
        CAMError: the shapes do not fit, or the maps contain NaN or Inf.

    Example::

        from captum_cams import visual

        maps = cc.GradCAM(model, "layer4").attribute(images)
        pictures = visual.overlay(visual.displayable(images), maps)
        assert pictures.shape == images.shape
    """
    return _coloured(images, _heat(images, maps), alpha, colormap)


def _coloured(images: Tensor, scaled: Tensor, alpha: float = 0.5, colormap: str = "turbo") -> Tensor:
    """The colours of scaled maps, N×H×W or N×D×H×W, over images."""
    colours = torch.from_numpy(colormaps[colormap](scaled.numpy())[..., :3]).float().movedim(-1, 1)
    return (1 - alpha) * images + alpha * colours


def _heat(images: Tensor, maps: Tensor) -> Tensor:
    """The maps at the size of their images, scaled to [0, 1]: N×H×W or N×D×H×W."""
    check_tensor("maps", maps, "N×h×w or N×1×h×w")
    maps = maps[:, None] if maps.ndim == images.ndim - 1 else maps
    if images.ndim not in (4, 5) or maps.ndim != images.ndim or maps.shape[:2] != (len(images), 1):
        form = "N×3×D×H×W and maps N×d×h×w or N×1×d×h×w" if images.ndim == 5 else "N×3×H×W and maps N×h×w or N×1×h×w"
        raise CAMError(f"images must be {form}, in this order, got {shape_of(images)} and {shape_of(maps)}")
    check_finite("maps", maps)
    return heat(maps.detach().float().cpu(), images.shape[2:])[:, 0]


def choose_slices(heatmaps: Tensor, count: int = 3) -> Tensor:
    """Choose the slices of each volume, or the frames of each clip, in which its map has the most energy.

    The energy of a slice is the sum of the map over it. Of slices with equal energy, the first are taken.

    Args:
        heatmaps: N×D×H×W, as ``heatmap`` of an explainer returns them.
        count: number of slices, at least 1; a volume with fewer slices has all of them chosen.

    Returns:
        The indices of the slices along D, counted from 0 and in increasing order, N×count.

    Raises:
        CAMError: the maps are not N×D×H×W, or ``count`` is not a positive integer.

    Example::

        from captum_cams import visual

        heatmaps = torch.zeros(1, 16, 8, 8)
        heatmaps[0, 5] = 1
        heatmaps[0, 2, :4] = 1
        print(visual.choose_slices(heatmaps, 2))  # tensor([[2, 5]])
    """
    check_at_least("count", count, 1)
    check_tensor("heatmaps", heatmaps, "N×D×H×W")
    if heatmaps.ndim != 4:
        raise CAMError(f"heatmaps must be N×D×H×W, got {shape_of(heatmaps)}; images have no slices")
    energy = heatmaps.detach().double().sum((2, 3))
    return energy.argsort(dim=1, descending=True, stable=True)[:, :count].sort(1).values


def panel(
    images: Tensor,
    maps: Mapping[str, Tensor],
    captions: Sequence[str],
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    slices: int = 3,
) -> np.ndarray:
    """Draw a picture that compares methods: a row for each image, and a column for each method.

    A row shows the image, the map of each method over the image, and a caption below. Of a volume or a clip, a row
    shows some slices or frames below one another: those in which the maps have the most energy, the same for all
    methods, each of which counts alike. Their indices, counted from 0, begin the caption.

    Args:
        images: N×C×H×W, or volumes or clips N×C×D×H×W, as the model takes them.
        maps: the name of each method with its maps, N×h×w or N×1×h×w (with d for volumes).
        captions: one text for each image.
        mean: as in :func:`displayable`.
        std: as in :func:`displayable`.
        slices: number of slices or frames of each volume; see :func:`choose_slices`.

    Returns:
        The picture H×W×3, with integers from 0 to 255.

    Raises:
        CAMError: ``maps`` is not a mapping, the number of captions is not the number of images, or images and maps do
            not fit :func:`displayable` and :func:`overlay`.

    Example::

        from captum_cams import visual

        maps = {name: cc.create(name, model, "layer4").attribute(images) for name in ("gradcam", "fdcam")}
        picture = visual.panel(images, maps, captions=["first image", "second image"])
    """
    if not isinstance(maps, Mapping):
        raise CAMError(f'maps must be a dict of methods with their maps, got {brief(maps)}; pass {{"gradcam": maps}}')
    shown = displayable(images, mean, std)
    if len(captions) != len(shown):
        raise CAMError(f"captions must be {len(shown)} texts, one for each image, got {len(captions)}")
    scaled, gaps = {name: _heat(shown, map_) for name, map_ in maps.items()}, 0
    if shown.ndim == 5:
        deep, energy = shown.shape[2], torch.zeros(len(shown), *shown.shape[2:])
        for map_ in scaled.values():
            energy += map_ / map_.sum((1, 2, 3), keepdim=True).clamp(min=1)  # a sum below 1 is that of a zero map
        chosen = choose_slices(energy, slices)
        captions = [
            f"slices {', '.join(map(str, each))} of {deep}\n{caption}".rstrip()
            for each, caption in zip(chosen.tolist(), captions, strict=True)
        ]
        shown, scaled = _stacked(shown, chosen), {name: _stacked(map_, chosen) for name, map_ in scaled.items()}
        gaps = chosen.shape[1] - 1
    columns = {"input": shown} | {name: _coloured(shown, map_) for name, map_ in scaled.items()}
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
    # All cells are one picture, because separate axes would take ten times as long.
    drawn = np.full((total, whole, 3), 255, dtype=np.uint8)
    for column, (name, pictures) in enumerate(columns.items()):
        x = (column + 0.5) / len(columns)
        figure.text(x, 1 - line / 2 / total, name, ha="center", va="center", fontsize=head, weight="bold")
        cells = F.interpolate(pictures, (cell, _CELL - 2), mode="nearest-exact")
        for gap in range(gaps):
            cells[:, :, round((gap + 1) * cell / (gaps + 1)) - 2 :][:, :, :2] = 1
        for row, picture in enumerate((cells * 255).round().byte().permute(0, 2, 3, 1).numpy()):
            top = line + row * (cell + below)
            drawn[top : top + cell, column * _CELL : (column + 1) * _CELL - 2] = picture
    figure.figimage(drawn)
    for row, caption in enumerate(captions):
        middle = 1 - (line + row * (cell + below) + cell + below / 2) / total
        figure.text(0.01, middle, caption, va="center", fontsize=letter * 0.72, parse_math=False)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _stacked(volumes: Tensor, chosen: Tensor) -> Tensor:
    """Some slices of each volume N×…×D×H×W below one another, N×…×(slices·H)×W."""
    return torch.stack([each[..., some, :, :] for each, some in zip(volumes, chosen, strict=True)]).flatten(-3, -2)


def curves(curves: Mapping[str, tuple[Tensor, Tensor]], quantity: str = "probability") -> np.ndarray:
    """Draw the deletion curves of all methods, and their insertion curves below.

    Args:
        curves: the name of each method with its deletion curve and its insertion curve. A curve has (steps + 1) values,
            at equal distances from 0 to 100 % of the pixels.
        quantity: the name of the values, for the vertical axes.

    Returns:
        The picture H×W×3, with integers from 0 to 255.

    Example::

        from captum_cams import visual

        maps = cc.GradCAM(model, "layer4").attribute(images)
        deletion = metrics.deletion_curve(model, images, maps, preset="quick").mean(0)
        insertion = metrics.insertion_curve(model, images, maps, preset="quick").mean(0)
        picture = visual.curves({"gradcam": (deletion, insertion)})
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
