"""Writes ``llms.txt``: all pages of the site with one sentence each, for programs that read instead of browse."""

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

_HEADINGS = {"api": "API"}


def write(app: Sphinx, error: Exception | None) -> None:
    """Write the list next to the pages, when they are all there."""
    if error is not None or app.builder.format != "html":
        return
    lines = [f"# {app.config.project}", "", f"> {_summary()}", ""]
    folder = None
    for name in sorted(app.env.found_docs, key=lambda one: ("/" in one, one)):
        if name.partition("/")[0] != folder and "/" in name:
            folder = name.partition("/")[0]
            lines += ["", f"## {_HEADINGS.get(folder, folder.capitalize())}", ""]
        said = _first_sentence(app.env.get_doctree(name))
        title = app.env.titles[name].astext()
        lines.append(f"- [{title}]({app.builder.get_target_uri(name)})" + (f": {said}" if said else ""))
    Path(app.outdir, "llms.txt").write_text("\n".join(lines) + "\n")


def _summary() -> str:
    """What the package says of itself in its metadata."""
    from importlib.metadata import metadata

    return metadata("captum-cams")["Summary"]


def _first_sentence(page: nodes.document) -> str:
    """The first sentence of the first paragraph."""
    for paragraph in page.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        return text.partition(". ")[0].rstrip(".:") + "."
    return ""
