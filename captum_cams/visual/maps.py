"""Draw one map over one image in the user's own axes."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from torch import Tensor

from captum_cams.errors import CAMError, check_tensor, shape_of
from captum_cams.regions import Cut
from captum_cams.visual.bars import Bar
from captum_cams.visual.cells import Marks, objects_of, put_cell
from captum_cams.visual.colours import ALPHA, paint
from captum_cams.visual.overlays import Region, scaled_over
from captum_cams.visual.text import font


def draw_map(
    image: Tensor,
    map_: Tensor,
    ax: Axes,
    *,
    bar: bool = True,
    signed: bool | None = None,
    percentile: float | None = None,
    smoothing: float | None = None,
    alpha: float = ALPHA,
    colormap: str | None = None,
    contours: Sequence[float] = (),
    cut: Cut | None = None,
    level: float = 0.5,
    boxes: Tensor | None = None,
    masks: Tensor | None = None,
    region: Region | None = None,
) -> None:
    """Draw a map over its image into axes of matplotlib, with a colour bar that has the values of the map.

    Args:
        image: 3×H×W in [0, 1], of any size.
        map_: h×w or 1×h×w.
        ax: the axes; their ticks and frame are removed. The letters have 8 points.
        bar: whether the figure of the axes gets a colour bar.
        signed: as in :func:`scale`.
        percentile: as in :func:`scale`.
        smoothing: as in :func:`scale`.
        alpha: as in :func:`paint`.
        colormap: as in :func:`palette`.
        contours: as in :func:`draw_panel`.
        cut: as in :func:`draw_panel`.
        level: as in :func:`captum_cams.mask_from_map`.
        boxes: the boxes of objects B×4, (x0, y0, x1, y1) in pixels of the image.
        masks: the masks of objects M×H×W or H×W, whose outlines are drawn.
        region: as in :func:`overlay`; the part is framed by a dashed line.

    Raises:
        CAMError: the shapes do not fit, or an argument is out of its range.

    Example::

        from matplotlib.figure import Figure

        from captum_cams import visual

        figure = Figure(figsize=(3.25, 2.6))
        maps = cc.GradCAM(model, "layer4").attribute(images)
        visual.draw_map(images[0], maps[0], figure.subplots(), contours=[0.5])
        figure.savefig("map.pdf")
    """
    check_tensor("image", image, "3×H×W")
    check_tensor("map_", map_, "h×w or 1×h×w")
    if image.ndim != 3 or map_.ndim not in (2, 3):
        raise CAMError(
            f"image must be 3×H×W and map_ h×w or 1×h×w, got {shape_of(image)} and {shape_of(map_)}; "
            "take one image and one map of a batch, such as images[0] and maps[0]"
        )
    images = image[None].detach().float().cpu()
    ranges = {"signed": signed, "percentile": percentile, "smoothing": smoothing}
    scaled = scaled_over(images, {"map": map_[None]}, region, **ranges)["map"]
    picture = paint(images, scaled.values, scaled.signed, alpha, colormap)[0]
    height, width = image.shape[1:]
    marks, objects = Marks(contours, cut, level, region), objects_of(boxes, masks, (height, width))
    ax.set_axis_off()
    ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    put_cell(ax, picture, scaled.values[0, 0], (0, 0, width, height), marks, objects)
    ax.set_aspect("equal")
    if bar:
        _put_bar(ax, Bar(scaled.signed, "each", alpha, colormap), float(scaled.low), float(scaled.top), scaled.note)


def _put_bar(ax: Axes, bar: Bar, low: float, top: float, note: str) -> None:
    """Add a colour bar with the values of the map, and what was done to it."""
    figure = ax.get_figure()
    if figure is None:
        raise CAMError("ax must belong to a figure, got axes without one; make them with figure.subplots()")
    norm = Normalize(low, top if top > low else low + 1)
    colours = ListedColormap(bar.colours().clamp(0, 1).numpy())
    drawn = figure.colorbar(ScalarMappable(norm, colours), ax=ax, fraction=0.05, pad=0.03)
    drawn.outline.set_visible(False)
    drawn.ax.tick_params(labelsize=font().get_size_in_points(), width=0.6)
    drawn.set_label(note, fontproperties=font())
