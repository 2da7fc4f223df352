"""Puts the guides into the order in which a newcomer reads them."""

from pathlib import Path

from sphinx.application import Sphinx

_ORDER = (
    *("start", "how-do-i", "which-method", "choosing-the-layer", "tasks", "transformers", "wrappers"),
    *("metrics", "evaluation", "reading-a-table", "reading-a-report", "shortcut", "callback", "command-line"),
    *("from-pytorch-grad-cam", "from-torchcam", "from-captum", "errors", "own-method", "own-metric", "inside"),
)


def listed(app: Sphinx, page: str, source: list[str]) -> None:
    """Write the names of all guides into the first page, instead of the line ``guides/*``; new ones come last."""
    if page == "index":
        found = [file.stem for file in Path(app.srcdir, "guides").glob("*.md")]
        ordered = sorted(found, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
        source[0] = source[0].replace("guides/*\n", "".join(f"guides/{name}\n" for name in ordered))
