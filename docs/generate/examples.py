"""Writes one page for each script in ``examples``: what it says of itself, and its code.

The scripts are not run at build time, as sphinx-gallery would do, because most of them train networks for minutes; the
tests of the repository run them in a short form.
"""

import ast
from pathlib import Path

from generate.pages import title, write_pages


def write(folder: Path) -> None:
    """Write ``index.rst`` and a page for each example into a folder."""
    scripts = sorted((folder.parents[1] / "examples").glob("*.py"))
    said = {script.stem: ast.get_docstring(ast.parse(script.read_text())) or "" for script in scripts}
    pages = {f"{name}.rst": _page(name, text) for name, text in said.items()}
    write_pages(folder, pages | {"index.rst": _index(said)})


def _page(name: str, said: str) -> str:
    return f"{title(name)}{_literal(said)}\n\n.. literalinclude:: ../../examples/{name}.py\n   :language: python\n"


def _literal(said: str) -> str:
    """Mark the indented commands of a docstring as code."""
    parts = said.split("\n\n")
    return "\n\n".join(f"::\n\n{part}" if part.startswith("    ") else part for part in parts)


def _index(said: dict[str, str]) -> str:
    entries = "".join(f":doc:`{name}`\n   {text.split(chr(10) * 2)[0]}\n\n" for name, text in said.items())
    names = "\n".join(f"   {name}" for name in said)
    return (
        title("Examples")
        + "Scripts of the repository, each for one question. Run them in a clone; ``--help`` says what they take.\n\n"
        + entries.replace("\n   ", "\n   ", 1)
        + f".. toctree::\n   :hidden:\n\n{names}\n"
    )
