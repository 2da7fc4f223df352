"""The command ``captum-cams benchmark``."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from captum_cams.benchmark.grade import grade
from captum_cams.benchmark.grades import Grades
from captum_cams.benchmark.networks import NetworkName
from captum_cams.benchmark.radar import draw_radar
from lightning_callbacks.command.words import listed

_TEXT = """
Drawn scenes of ten kinds, in which it is known by construction which pixels decide about a class, explained on small
trained networks. Each measure compares the map with these pixels, from 0 to 1, and higher is better. "mass" is the
share of the map on these pixels, and "pointing" tells how often the maximum of the map is one of them. In brackets:
the 95 % interval of the bootstrap over scenes. "–": the method does not explain this network, for the reason given at
the end. The last three columns are means over the networks that a method explains, so compare methods with a "–" in the
columns of one network.
"""


def grade_methods(*, methods: Sequence[str], networks: Sequence[NetworkName], scenes: int, out: Path) -> None:
    """Grade methods on drawn scenes, print a table, and write it with a figure; the command line describes the rest.

    Raises:
        CAMError: an argument does not fit.
    """
    found = listed(methods)
    grades = grade(found, networks, scenes=scenes)
    print(grades.summary(), end="")
    if reasons := grades.reasons():
        print(f"Not possible:\n{reasons}", end="")
    out.mkdir(parents=True, exist_ok=True)
    words = ["captum-cams", "benchmark", "--methods", *found, "--networks", *networks]
    command = shlex.join([*words, "--scenes", str(scenes), "--out", out.name])
    draw_radar(grades, out / "benchmark.png")
    (out / "benchmark.md").write_text(_page(grades, command), encoding="utf-8")
    print(f"{out / 'benchmark.md'}: the grades of each factor, with a figure")


def _page(grades: Grades, command: str) -> str:
    """The page that is written: the command, all tables, the figure, and what was refused."""
    parts = [
        "# Grades on scenes with ground truth\n",
        f"```bash\n{command}\n```\n{_TEXT}",
        f"## Methods\n\n{grades.summary()}",
        f"## Average precision of each kind of scene\n\n{grades.by_factor()}",
        "![One radar for each method](benchmark.png)\n",
        "## Each method\n",
        *(f"### {method}\n\n{grades.table(method)}" for method in grades.order()),
    ]
    if reasons := grades.reasons():
        parts.append(f"## Not possible\n\n{reasons}")
    return "\n".join(parts)
