"""Draw the grades of each method as a radar."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from captum_cams.benchmark.grades import Grades
from captum_cams.errors import CAMError

_COLUMNS = 5


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
    columns = min(_COLUMNS, len(order))
    rows = -(-len(order) // columns)
    height = 3.2 * rows + 0.6
    figure = Figure((3.1 * columns, height))
    figure.subplots_adjust(0.06, 1.0 / height, 0.94, 1 - 0.6 / height, 0.35, 0.45)
    FigureCanvasAgg(figure)
    angles = 2 * np.pi * np.arange(len(grades.factors)) / len(grades.factors)
    for index, method in enumerate(order):
        axes = figure.add_subplot(rows, columns, index + 1, projection="polar", theta_offset=np.pi / 2)
        for colour, network in enumerate(grades.networks):
            found = [grades.estimate(method, measure, factor=factor, network=network) for factor in grades.factors]
            values = [estimate.value for estimate in found if estimate is not None]
            if values:
                closed = np.append(angles, angles[0]), [*values, values[0]]
                axes.plot(*closed, color=f"C{colour}", linewidth=1.2, label=network)
        axes.set_title(method, fontsize=10, pad=14)
        axes.set_xticks(angles, [factor.replace("_", "\n", 1).replace("_", " ") for factor in grades.factors])
        axes.tick_params(axis="x", labelsize=5.5, pad=-1)
        axes.set_ylim(0, 1)
        axes.set_yticks([0.25, 0.5, 0.75, 1.0], ["", "0.5", "", "1"])
        axes.tick_params(axis="y", labelsize=5)
    lines = [Line2D([], [], color=f"C{colour}") for colour, _ in enumerate(grades.networks)]
    figure.legend(lines, grades.networks, loc="lower center", ncols=len(grades.networks), fontsize=8, title=measure)
    figure.savefig(file, dpi=80)
