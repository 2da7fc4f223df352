"""Draw deletion and insertion curves."""

from collections.abc import Mapping
from itertools import cycle

import torch
from matplotlib.axes import Axes
from torch import Tensor

from captum_cams.registry import title
from captum_cams.visual.drawing import Drawing, Picture
from captum_cams.visual.text import font
from captum_cams.visual.theme import LETTER, Inks, Theme, inks

# Okabe and Ito's colours, which colour-blind readers tell apart, without yellow, and with the ink of the page instead
# of black. Colour and dash together tell more methods apart than either.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_DASHES = ("-", "--", ":", "-.")
# Points of a plot, above it, below it, left and right of it.
_PLOT, _TITLE, _AXIS, _SIDE, _EDGE = 130.0, 24.0, 40.0, 50.0, 10.0


def curves(
    curves: Mapping[str, tuple[Tensor, Tensor]], quantity: str = "probability", *, theme: Theme = "light"
) -> Picture:
    """Draw the deletion curves of all methods, and their insertion curves beside them, as pixels.

    Args:
        curves: as in :func:`draw_curves`.
        quantity: as in :func:`draw_curves`.
        theme: as in :func:`draw_curves`.

    Returns:
        The picture H×W×3, with integers from 0 to 255. Notebooks show it.

    Example::

        from captum_cams import visual

        maps = cc.GradCAM(model, "layer4").attribute(images)
        deletion = metrics.deletion_curve(model, images, maps, preset="quick").mean(0)
        insertion = metrics.insertion_curve(model, images, maps, preset="quick").mean(0)
        picture = visual.curves({"gradcam": (deletion, insertion)})
    """
    return draw_curves(curves, quantity, theme=theme).pixels()


def draw_curves(
    curves: Mapping[str, tuple[Tensor, Tensor]],
    quantity: str = "probability",
    *,
    width: float = 6.75,
    theme: Theme = "light",
) -> Drawing:
    """Draw the deletion and the insertion curves of methods on one scale, with their areas.

    Args:
        curves: the name of each method with its deletion curve and its insertion curve. A curve has (steps + 1) values,
            at equal distances from 0 to 100 % of the pixels.
        quantity: the name of the values, for the vertical axis.
        width: of the figure in inches; below 5, the curves are below one another.
        theme: "light" or "dark".

    Returns:
        The figure, which notebooks show and ``save("curves.pdf")`` writes.

    Example::

        from captum_cams import visual

        falling, rising = torch.linspace(1, 0, 11), torch.linspace(0, 1, 11)
        drawing = visual.draw_curves({"gradcam": (falling, rising)}, width=3.25)
    """
    colours, beside = inks(theme), width >= 5
    below = _AXIS + 1.4 * LETTER * len(curves)
    each, whole = _TITLE + _PLOT + below, 72 * width
    drawing = Drawing(whole, each if beside else 2 * each, theme)
    wide = (whole - 2 * _SIDE - 2 * _EDGE) / 2 if beside else whole - _SIDE - _EDGE
    both: list[Axes] = []
    for number in range(2):
        left = _SIDE + (number * (wide + _SIDE + _EDGE) if beside else 0)
        bottom = below if beside or number else each + below
        place = (left / whole, bottom / drawing.height, wide / whole, _PLOT / drawing.height)
        both.append(drawing.add_axes(place, sharey=both[0] if both else None))
    for axes, kind, which in zip(both, ("deletion", "insertion"), (0, 1), strict=True):
        _plot(axes, {title(name): pair[which] for name, pair in curves.items()}, colours)
        axes.set_title(
            f"{kind} (area under each curve)", loc="left", fontproperties=font(bold=True), color=colours.text
        )
        axes.set_xlabel(f"pixels {kind[:-3]}ed (%)", fontproperties=font(), color=colours.quiet)
        axes.set_ylabel(quantity, fontproperties=font(), color=colours.quiet)
        if quantity == "probability":
            axes.set_ylim(0, None)
    return drawing


def _plot(axes: Axes, curves: Mapping[str, Tensor], colours: Inks) -> None:
    """Draw one curve for each method, and their names with their areas below."""
    styles = cycle([(colour, dash) for dash in _DASHES for colour in _COLOURS])
    for (name, curve), (colour, dash) in zip(curves.items(), styles, strict=False):
        values = curve.detach().float().cpu()
        shares = torch.linspace(0, 100, len(values))
        label = f"{name} {torch.trapezoid(values) / (len(values) - 1):.3f}"
        axes.plot(shares.numpy(), values.numpy(), color=colour, linestyle=dash, linewidth=1.5, label=label)
    axes.set_xlim(0, 100)
    axes.set_facecolor(colours.page)
    axes.tick_params(labelsize=LETTER, colors=colours.quiet, width=0.6)
    axes.grid(color=colours.quiet, alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=colours.quiet, linewidth=0.6)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, (LETTER - _AXIS) / _PLOT),
        prop=font(),
        labelcolor=colours.text,
        frameon=False,
        borderaxespad=0,
        labelspacing=0.25,
        handlelength=3,
    )
