"""What all generators share: a folder of pages, and the tables on them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


def write_pages(folder: Path, pages: Mapping[str, str]) -> None:
    """Write pages into a folder, and remove the pages of an earlier build that are no longer there.

    A file that already has this text is not touched, because Sphinx builds what is newer than its own record.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in {*folder.glob("*.rst"), *folder.glob("*.md")} - {folder / name for name in pages}:
        old.unlink()
    for name, text in pages.items():
        file = folder / name
        if not file.is_file() or file.read_text() != text:
            file.write_text(text)


def title(text: str, line: str = "=") -> str:
    """Write a title of reStructuredText."""
    return f"{text}\n{line * (2 * len(text))}\n\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], widths: str = "auto", kind: str = "") -> str:
    """Write a table of reStructuredText; a cell may have several lines.

    Args:
        header: the titles of the columns; empty for a table without titles.
        rows: one text for each cell.
        widths: the widths of the columns, such as "30 70".
        kind: a class for the style sheet.
    """
    options = (
        [f"   :widths: {widths}"]
        + (["   :header-rows: 1"] if header else [])
        + ([f"   :class: {kind}"] if kind else [])
    )
    lines = [".. list-table::", *options, ""]
    for row in [header, *rows] if header else rows:
        for first, cell in zip(["   * - ", *["     - "] * len(row)], row, strict=False):
            lines.append((first + cell.replace("\n", "\n" + " " * 7)).rstrip())
    return "\n".join(lines) + "\n\n"


def indented(text: str, spaces: int = 3) -> str:
    """Indent all lines that are not empty."""
    return "\n".join(" " * spaces + line if line else "" for line in text.splitlines())
