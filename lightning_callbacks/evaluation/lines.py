"""Lines of JSON with checksums in a file that grows."""

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def append(file: Path, content: dict[str, Any]) -> None:
    """Add a line with the "settings" and the "entry" in ``content``."""
    with open(file, "a") as opened:
        opened.write(_text(content))


def whole_lines(file: Path) -> Iterator[dict[str, Any] | None]:
    """Read the content of each line; it is None for a damaged line."""
    with open(file, "rb") as opened:
        for text in opened:
            if text != b"\n":
                yield _content(text)


def ends_in_line(file: Path) -> bool:
    """Whether the last line of a file is complete, or the file is empty."""
    with open(file, "rb") as opened:
        length = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, length - 1))
        return opened.read() in (b"", b"\n")


def rewrite(file: Path) -> None:
    """Leave the whole lines only."""
    new = file.with_suffix(".new")
    with open(new, "w") as opened:
        opened.writelines(_text(content) for content in whole_lines(file) if content is not None)
    os.replace(new, file)


def replace(file: Path, text: str) -> None:
    """Write the complete file, or leave the old file as it was."""
    new = file.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, file)


def _text(content: dict[str, Any]) -> str:
    return json.dumps({"check": _check(content)} | content) + "\n"


def _check(content: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(content).encode())


def _content(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
        content = {key: line[key] for key in ("settings", "entry")}
        return content if _check(content) == line["check"] else None
    except (ValueError, TypeError, KeyError):
        return None
