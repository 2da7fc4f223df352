"""Read the file labels.csv and check each line."""

import csv
from math import isfinite
from pathlib import Path

from captum_cams.errors import CAMError

Boxes = list[tuple[float, float, float, float]]
Annotations = dict[Path, tuple[list[int], Boxes | None]]

_CORNERS = ("x0", "y0", "x1", "y1")


def read_labels(file: Path) -> tuple[Annotations, dict[int, str] | None]:
    """Read the classes and boxes of each image, and the names of the classes.

    The columns are:

    - file: path of an image in the folder of the file;
    - class_index: 0, 1, 2, ...;
    - x0, y0, x1, y1: for boxes, in pixels of the upright image, with one line for each box;
    - class_name: compared with the class names of the model;
    - difficult: lines with 1 are left out.

    Only file and class_index are required.

    Raises:
        CAMError: a line is not valid; the message has its number.
    """
    found: Annotations = {}
    names: dict[int, str] = {}
    first_lines: dict[tuple[str | None, ...], int] = {}
    try:
        with open(file, newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened)
            for row in reader:
                line = _Line(file, reader.line_num, row)
                image, index, box = line.image(), line.index(), line.box()
                first = first_lines.setdefault(
                    (str(image), *(row.get(key) for key in ("class_index", *_CORNERS))), line.number
                )
                if first != line.number:
                    raise line.error(f"must differ from line {first}")
                if names.setdefault(index, row.get("class_name") or "") != (row.get("class_name") or ""):
                    raise line.error(
                        f'must have the class_name "{names[index]}" for class {index}, as an earlier line has'
                    )
                if line.is_difficult():
                    continue
                labels, boxes = found.setdefault(image, ([], None if box is None else []))
                if (box is None) != (boxes is None):
                    raise line.error("must have a box, because other lines of this image have one")
                labels.append(index)
                if boxes is not None and box is not None:
                    boxes.append(box)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CAMError(f"{file} must be a table of comma-separated values in UTF-8, got: {error}") from error
    if not found:
        raise CAMError(
            f"{file} must list at least one image, got none; add lines with the columns file and class_index"
        )
    return found, {index: name for index, name in names.items() if name} or None


class _Line:
    """One line of the file.

    Args:
        file: the file, for messages.
        number: the number of the line, from 1 on.
        row: column → value.
    """

    def __init__(self, file: Path, number: int, row: dict[str, str]) -> None:
        self.file, self.number, self.row = file, number, row
        if None in row or not {"file", "class_index"} <= row.keys():
            columns = ", ".join(key for key in row if key is not None)
            raise self.error(
                f"must have a value for each column, and the columns must include file and class_index, got {columns}"
            )

    def error(self, words: str) -> CAMError:
        return CAMError(f"{self.file}, line {self.number} {words}")

    def image(self) -> Path:
        text = self.row["file"]
        if not text or "\0" in text:
            raise self.error(f"must have the name of an image, got {text!r}")
        path = Path(text)
        if path.is_absolute() or ".." in path.parts:
            raise self.error(f"must have an image inside the folder of the file, got {text!r}; copy or link it there")
        return path

    def index(self) -> int:
        text = (self.row["class_index"] or "").strip()
        if not (text.isascii() and text.isdigit()):
            raise self.error(f"must have a class_index of 0, 1, 2, ..., got {text!r}")
        return int(text)

    def box(self) -> tuple[float, float, float, float] | None:
        texts = [self.row.get(key) or "" for key in _CORNERS]
        if not any(texts):
            return None
        try:
            x0, y0, x1, y1 = map(float, texts)
        except ValueError:
            raise self.error(f"must have the numbers x0, y0, x1 and y1, got {', '.join(map(repr, texts))}") from None
        if not (all(map(isfinite, (x0, y0, x1, y1))) and -1 <= x0 < x1 and -1 <= y0 < y1):
            raise self.error(f"must have a box with 0 ≤ x0 < x1 and 0 ≤ y0 < y1, got {', '.join(texts)}")
        return x0, y0, x1, y1

    def is_difficult(self) -> bool:
        text = (self.row.get("difficult") or "0").strip()
        if text not in ("0", "1"):
            raise self.error(f"must have 0 or 1 for difficult, got {text!r}")
        return text == "1"
