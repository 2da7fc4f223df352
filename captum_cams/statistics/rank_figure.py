"""Draw the mean ranks of methods, and which of them do not differ."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from captum_cams.errors import CAMError
from captum_cams.statistics.ranking import critical_difference

_AXIS, _LINE, _LETTERS = 5.0, 0.32, 13  # inches of the axis, inches of a line of text, points
_LETTER = 0.115  # inches of a letter of that size
_BAR = "#0072B2"  # the blue of Okabe and Ito, which all readers tell from black


def draw_ranks(mean_ranks: Mapping[str, Mapping[str, float]], images: Mapping[str, int]) -> np.ndarray:
    """Draw a critical-difference diagram for each metric.

    Demšar ("Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 2006, section 3.2.4): every method
    stands at its mean rank over the images, the best on the left. A thick bar joins methods whose mean ranks differ by
    less than the critical difference of Nemenyi's test with an error rate of 0.05, which is drawn above the axis.

    Args:
        mean_ranks: name of the metric → method → mean rank over the images, as in :class:`Rank`.
        images: name of the metric → number of images.

    Returns:
        The picture H×W×3, with integers from 0 to 255.

    Raises:
        CAMError: there is no metric, or a metric has fewer than two methods.

    Example::

        from captum_cams import statistics

        found = statistics.ranks(torch.rand(40, 3), ["a", "b", "c"], higher_is_better=True)
        picture = statistics.draw_ranks({"adcc": {rank.method: rank.mean_rank for rank in found}}, {"adcc": 40})
    """
    if not mean_ranks or any(len(of) < 2 for of in mean_ranks.values()):
        raise CAMError("draw_ranks needs a metric with the mean ranks of two or more methods; add a method")
    layouts = {metric: _groups(of, critical_difference(len(of), images[metric])) for metric, of in mean_ranks.items()}
    lines = [4.5 + 0.5 * len(layouts[name]) + (len(of) + 1) // 2 for name, of in mean_ranks.items()]
    side = _LETTER * (8 + max(len(method) for of in mean_ranks.values() for method in of))
    figure = Figure(figsize=(_AXIS + 2 * side, _LINE * sum(lines)), dpi=100)
    canvas = FigureCanvasAgg(figure)
    top = sum(lines)
    for (metric, of), height in zip(mean_ranks.items(), lines, strict=True):
        axes = figure.add_axes((0.0, (top - height) / sum(lines), 1.0, height / sum(lines)))
        top -= height
        axes.set_xlim(*(end * (len(of) - 1) + 1 for end in (-side / _AXIS, 1 + side / _AXIS)))
        axes.set_ylim(height, 0)
        _draw(axes, f"{metric}: mean rank over {images[metric]} images", of, images[metric], layouts[metric])
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _groups(mean_ranks: Mapping[str, float], difference: float) -> list[tuple[float, float]]:
    """The first and last rank of each largest group of methods that do not differ, best first."""
    ranks = sorted(mean_ranks.values())
    spans = [(low, max(rank for rank in ranks if rank - low < difference)) for low in ranks]
    wide = [(low, high) for low, high in dict.fromkeys(spans) if high > low]
    return [span for span in wide if not any(a <= span[0] and span[1] <= b for a, b in wide if (a, b) != span)]


def _draw(
    axes: Axes, title: str, mean_ranks: Mapping[str, float], images: int, groups: list[tuple[float, float]]
) -> None:
    """One diagram; the vertical unit is a line of text, downwards from the title."""
    count = len(mean_ranks)
    gap = 0.02 * (count - 1)
    axes.axis("off")
    text: dict[str, Any] = {"fontsize": _LETTERS, "va": "center"}
    line: dict[str, Any] = {"color": "black", "linewidth": 1, "solid_capstyle": "butt"}
    axes.text((1 + count) / 2, 0.7, title, ha="center", weight="bold", **text)
    difference = critical_difference(count, images)
    axes.plot([1, 1 + difference], [1.7, 1.7], **line)
    for end in (1, 1 + difference):
        axes.plot([end, end], [1.55, 1.85], **line)
    axes.text(1 + difference + gap, 1.7, f"critical difference {difference:.2f}", **text)
    axis: float = 3.2
    axes.plot([1, count], [axis, axis], **line)
    for tick in range(1, count + 1, 1 + count // 21):  # every number has room
        axes.plot([tick, tick], [axis - 0.15, axis], **line)
        axes.text(tick, axis - 0.5, str(tick), ha="center", **text)
    for number, (low, high) in enumerate(groups):
        level = axis + 0.4 + 0.5 * number
        axes.plot([low, high], [level, level], color=_BAR, linewidth=5, solid_capstyle="round")
    first = axis + 0.9 + 0.5 * len(groups)
    order = sorted(mean_ranks, key=mean_ranks.__getitem__)
    half = (count + 1) // 2
    for number, method in enumerate(order):
        left, rank = number < half, mean_ranks[method]
        height = first + (number if left else count - 1 - number)
        end = 1 - gap if left else count + gap
        axes.plot([rank, rank, end], [axis, height, height], **line)
        name = f"{method}  {rank:.2f}" if left else f"{rank:.2f}  {method}"
        axes.text(end - gap if left else end + gap, height, name, ha="right" if left else "left", **text)
