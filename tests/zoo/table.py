"""The page of the docs that says what the library explains in each network of the zoo."""

from collections import Counter

from tests.zoo.entries import entries
from tests.zoo.verdict import Verdict

HEAD = """# The zoo: which layer is explained if none is given

Written by `python -m tests.zoo --page`, which takes the packages of `pip install -e ".[zoo]"`; no number is typed by
hand. All networks have random weights, and no layer is named: `create("gradcam", model)`.

- **right**: the map equals Grad-CAM by a hook and a gradient in plain torch, to 1e-5 of its largest value, and
  experiments prove the place: changes of the image are seen where they are; no positions reach the score by a way
  around the layer; nothing behind it mixes positions but the head; and the score has a gradient at the positions. Where
  two sizes of images stand, the same is found for images that are not square.
- **teaches**: the library refuses the network and says why.
- **wrong**: the map is another one, or its place is wrong.
"""


def page(verdicts: list[Verdict]) -> str:
    """The whole page, in Markdown."""
    judged = f"{len(verdicts)} of the {len(entries())} networks of the list were judged for this page.\n"
    lines = [HEAD, judged, "| library | networks | families | right | teaches | wrong |", "|---|---|---|---|---|---|"]
    for library in dict.fromkeys(verdict.entry.library for verdict in verdicts):
        lines.append(summary(library, [verdict for verdict in verdicts if verdict.entry.library == library]))
    lines += [summary("all", verdicts), ""]
    lines += [
        "| library | family | network | images | layer | K × positions | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += map(row, sorted(verdicts, key=lambda verdict: (verdict.entry.library, verdict.entry.family)))
    return "\n".join(lines) + "\n"


def summary(name: str, verdicts: list[Verdict]) -> str:
    kinds = Counter(verdict.kind for verdict in verdicts)
    families = {(verdict.entry.library, verdict.entry.family) for verdict in verdicts}
    counts = (f"{kinds[kind]} ({kinds[kind] / len(verdicts):.1%})" for kind in ("right", "teaches", "wrong"))
    return f"| {name} | {len(verdicts)} | {len(families)} | {' | '.join(counts)} |"


def row(verdict: Verdict) -> str:
    entry, layer = verdict.entry, verdict.layer and f"`{verdict.layer}`"
    said = verdict.kind + (f": {verdict.remark}" if verdict.remark else "")
    cells = (entry.library, entry.family, entry.name, verdict.images, layer, verdict.shape, said.replace("|", "\\|"))
    return f"| {' | '.join(cells)} |"
