"""Draw the grades of each method as a radar."""

from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from captum_cams.benchmark.grades import Grades
from captum_cams.errors import CAMError

_COLUMNS, _WIDTH, _ROW, _KEY = 5, 8.3, 2.0, 1.15  # width, and heights of a row and of what is above it, in inches


def draw_radar(grades: Grades, file: str | Path, measure: str = "average_precision") -> None:
    """Draw one radar for each method, with an axis for each factor and a line for each network.

    Args:
        grades: what :func:`~captum_cams.benchmark.grade.grade` returned, with at least three factors.
        file: the picture to write, such as ``benchmark.png``.
        measure: what the distance from the centre shows, from 0 in the centre to 1 at the rim.

    Raises:
        CAMError: there are fewer than three factors, which have no area, or no such measure.

    Example::

        from captum_cams import benchmark

        grades = benchmark.grade(["gradcam"], ["pooled_cnn"], factors=["small", "large", "textured"], scenes=2)
        benchmark.draw_radar(grades, "benchmark.png")
    """
    if len(grades.factors) < 3:
        raise CAMError(f"a radar needs at least 3 factors, got {len(grades.factors)}; print the table instead")
    order = grades.order(measure)
    rows = -(-len(order) // _COLUMNS)
    height = _ROW * rows + _KEY
    figure = Figure((_WIDTH, height))
    figure.subplots_adjust(0.03, 0.2 / height, 0.97, 1 - (_KEY + 0.45) / height, 0.22, 0.42)
    FigureCanvasAgg(figure)
    angles = 2 * np.pi * np.arange(len(grades.factors)) / len(grades.factors)
    for index, method in enumerate(order):
        axes = figure.add_subplot(
            rows, _COLUMNS, index + 1, projection="polar", theta_offset=np.pi / 2, theta_direction=-1
        )
        for colour, network in enumerate(grades.networks):
            found = [grades.estimate(method, measure, factor=factor, network=network) for factor in grades.factors]
            values = [estimate.value for estimate in found if estimate is not None]
            if values:
                axes.plot(np.append(angles, angles[0]), [*values, values[0]], color=f"C{colour}", linewidth=1.4)
        axes.set_title(method, fontsize=8.5, pad=9)
        axes.set_xticks(angles, [str(number) for number, _ in enumerate(grades.factors, 1)])
        axes.set_ylim(0, 1)
        axes.set_yticks([0.25, 0.5, 0.75], ["", "", ""])
        axes.tick_params(axis="x", labelsize=7.5, pad=-3)
        axes.grid(color="0.85", linewidth=0.6)
        axes.spines["polar"].set_color("0.6")
    lines = [Line2D([], [], color=f"C{colour}") for colour, _ in enumerate(grades.networks)]
    figure.legend(
        lines,
        grades.networks,
        loc="upper center",
        bbox_to_anchor=(0.5, 1 - 0.05 / height),
        ncols=len(grades.networks),
        fontsize=9,
        frameon=False,
        title=f"{measure}: 0 in the centre, 1 at the rim, a ring for each 0.25",
        title_fontsize=9,
    )
    # A no-break space keeps each number with its factor.
    key = "   ".join(f"{number}\u00a0{factor}" for number, factor in enumerate(grades.factors, 1))
    figure.text(0.5, 1 - 0.68 / height, fill(key, 100), ha="center", va="top", fontsize=8.5)
    figure.savefig(file, dpi=160)
