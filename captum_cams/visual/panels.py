"""Draw panels: a row for each image, and a column for each method."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from captum_cams.errors import CAMError, brief, shape_of
from captum_cams.regions import Cut
from captum_cams.registry import title
from captum_cams.visual.bars import Bar
from captum_cams.visual.captions import Caption, as_captions
from captum_cams.visual.cells import Marks, objects_of
from captum_cams.visual.colours import ALPHA, paint
from captum_cams.visual.display import displayable
from captum_cams.visual.drawing import Drawing, Picture
from captum_cams.visual.grid import Column, Grid
from captum_cams.visual.overlays import Region, scaled_over
from captum_cams.visual.scale import Scaled, Shared
from captum_cams.visual.slices import choose_slices, parted
from captum_cams.visual.theme import Theme


def panel(
    images: Tensor, maps: Mapping[str, Tensor], captions: Sequence[str | Caption] | None = None, **options: Any
) -> Picture:
    """Draw a picture that compares methods, as pixels for logs and files.

    Args:
        images: as in :func:`draw_panel`.
        maps: as in :func:`draw_panel`.
        captions: as in :func:`draw_panel`.
        **options: the further arguments of :func:`draw_panel`.

    Returns:
        The picture H×W×3, with integers from 0 to 255; a picture in it is 224 pixels wide unless ``width`` is given.
        Notebooks show it.

    Raises:
        CAMError: as in :func:`draw_panel`.

    Example::

        maps = {name: cc.create(name, model, "layer4").attribute(images) for name in ("gradcam", "fdcam")}
        picture = cc.panel(images, maps, captions=["first image", "second image"])
    """
    return draw_panel(images, maps, captions, **options).pixels()


def draw_panel(
    images: Tensor,
    maps: Mapping[str, Tensor],
    captions: Sequence[str | Caption] | None = None,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    slices: int = 3,
    width: float | None = None,
    theme: Theme = "light",
    shared: Shared = "each",
    signed: bool | None = None,
    percentile: float | None = None,
    smoothing: float | None = None,
    alpha: float = ALPHA,
    colormap: str | None = None,
    contours: Sequence[float] = (),
    cut: Cut | None = None,
    level: float = 0.5,
    boxes: Sequence[Tensor] | None = None,
    masks: Sequence[Tensor] | None = None,
    region: Region | None = None,
) -> Drawing:
    """Draw a figure that compares methods: a row for each image, and a column for each method.

    A row shows the image, the map of each method over the image, and a caption below. Of a volume or a clip, a row
    shows some slices or frames below one another: those in which the maps have the most energy, the same for all
    methods, each of which counts alike. Their indices, counted from 0, begin the caption. Methods that the registry
    knows have the names of their papers: Grad-CAM for "gradcam". Letters have 8 points at each width, and wrap.

    Args:
        images: N×C×H×W, or volumes or clips N×C×D×H×W, as the model takes them.
        maps: the name of each method with its maps, N×h×w or N×1×h×w (with d for volumes).
        captions: one text or :class:`Caption` for each image; None for no captions.
        mean: as in :func:`displayable`.
        std: as in :func:`displayable`.
        slices: number of slices or frames of each volume; see :func:`choose_slices`.
        width: of the figure in inches, such as 3.25 for one column of a paper and 6.75 for two; None makes each picture
            1.56 inches wide.
        theme: "light" or "dark", for the page around the pictures.
        shared: which maps have one scale: "each", "row" (of one image), "column" (of one method) or "all".
        signed: as in :func:`scale`.
        percentile: as in :func:`scale`.
        smoothing: as in :func:`scale`.
        alpha: as in :func:`paint`.
        colormap: as in :func:`palette`.
        contours: levels of the scaled map, between 0 and 1 (of signed maps also −1 to 0), along which lines are drawn.
        cut: outlines the pixels that :func:`captum_cams.mask_from_map` marks in each map; None for no outline.
        level: as in :func:`captum_cams.mask_from_map`.
        boxes: one tensor for each image with the boxes of its objects, B×4, (x0, y0, x1, y1) in pixels.
        masks: one tensor for each image with the masks of its objects, M×H×W or H×W; their outlines are drawn.
        region: as in :func:`overlay`; the part is framed by a dashed line.

    Returns:
        The figure, which notebooks show and ``save("panel.pdf")`` writes.

    Raises:
        CAMError: ``maps`` is not a mapping, there are not as many captions, boxes or masks as images, an argument is
            out of its range, the width is too small for the columns, or images and maps do not fit :func:`displayable`
            and :func:`overlay`.

    Example::

        from captum_cams import visual

        maps = {name: cc.create(name, model, "layer4").attribute(images) for name in ("gradcam", "fdcam")}
        captions = [visual.Caption("class 3", right=True), visual.Caption("class 5, true class 7", right=False)]
        visual.draw_panel(images, maps, captions, width=3.25, contours=[0.5]).save("panel.pdf")
    """
    if not isinstance(maps, Mapping):
        raise CAMError(f'maps must be a dict of methods with their maps, got {brief(maps)}; pass {{"gradcam": maps}}')
    shown = displayable(images, mean, std)
    written = as_captions([""] * len(shown) if captions is None else captions)
    for name, given in (("captions", written), ("boxes", boxes), ("masks", masks)):
        if given is not None and len(given) != len(shown):
            raise CAMError(f"{name} must be {len(shown)}, one for each image, got {len(given)}")
    annotated = boxes is not None or masks is not None
    if annotated and shown.ndim == 5:
        raise CAMError(f"boxes and masks need images N×C×H×W, got {shape_of(images)}; leave them out")
    objects = [
        objects_of(None if boxes is None else boxes[n], None if masks is None else masks[n], shown.shape[-2:])
        for n in range(len(shown) if annotated else 0)
    ]
    ranges = {"signed": signed, "percentile": percentile, "smoothing": smoothing}
    scaled = scaled_over(shown, maps, region, shared=shared, **ranges)
    painted = {name: paint(shown, one.values, one.signed, alpha, colormap) for name, one in scaled.items()}
    chosen = None if shown.ndim == 4 else choose_slices(_energy(scaled.values(), shown), slices)
    if chosen is not None:
        written = [_with_slices(*each, shown.shape[2]) for each in zip(written, chosen.tolist(), strict=True)]
    columns = [Column("input", "", parted(shown, chosen))] + [
        Column(title(name), one.note, parted(painted[name], chosen), parted(one.values, chosen)[:, :, 0])
        for name, one in scaled.items()
    ]
    single = len(shown) * len(scaled) == 1
    signs = sorted({one.signed for one in scaled.values()})
    bars = [Bar(sign, shared, alpha, colormap, single) for sign in signs]
    marks = Marks(contours, cut, level, region)
    return Grid(columns, written, bars, marks, objects or None).draw(width, theme)


def _energy(scaled: Iterable[Scaled], shown: Tensor) -> Tensor:
    """The energy of all methods in volumes, N×D×H×W; each method counts alike."""
    energy = torch.zeros(len(shown), *shown.shape[2:])
    for one in scaled:
        map_ = one.values[:, 0].abs()
        energy += map_ / map_.sum((1, 2, 3), keepdim=True).clamp(min=1)  # a sum below 1 is that of a zero map
    return energy


def _with_slices(caption: Caption, chosen: Sequence[int], deep: int) -> Caption:
    """The caption after the indices of the slices."""
    text = f"slices {', '.join(map(str, chosen))} of {deep}\n{caption.text}".rstrip()
    return replace(caption, text=text)
