"""Data sets on disk as images with the classes and boxes of their annotations."""

import csv
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.datasets import ImageFolder, VOCDetection
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms import v2

from captum_cams.errors import CAMError

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)

Boxes = list[tuple[float, float, float, float]]
Entry = tuple[Path, Callable[[], tuple[list[int], Boxes | None]]]
"""A file, and a function that reads its classes with a box for each, or its classes alone."""


class Annotated(Dataset):
    """Images C×H×W with {"labels": B, "boxes": B×4} each, or {"labels": B} where no boxes are known.

    Args:
        entries: files and their annotations.
        transform: of ``torchvision.transforms.v2``, so that boxes move with the image; those that leave it are dropped.
        classes: names of all classes, where the folder knows them.
    """

    def __init__(
        self, entries: list[Entry], transform: Callable[..., Any], classes: Sequence[str] | None = None
    ) -> None:
        self.entries, self.transform, self.classes = entries, transform, classes
        self.within = v2.SanitizeBoundingBoxes(labels_getter=lambda sample: sample[1]["labels"])

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        file, read = self.entries[index]
        with Image.open(file) as opened:
            picture = opened.convert("RGB")
        labels, boxes = read()
        target = {"labels": torch.tensor(labels, dtype=torch.long)}
        if boxes is None:
            return self.transform(picture), target
        size = (picture.height, picture.width)
        target["boxes"] = tv_tensors.BoundingBoxes(torch.tensor(boxes).view(-1, 4), format="XYXY", canvas_size=size)
        image, target = self.within(self.transform(picture, target))
        return image, target | {"boxes": target["boxes"].as_subclass(Tensor)}


def collate(items: list[tuple[Tensor, dict[str, Tensor]]]) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Images N×C×H×W, and a list of what is known of each."""
    images, targets = zip(*items, strict=True)
    return torch.stack(images), list(targets)


def open_folder(folder: str | Path, transform: Callable[..., Any]) -> Annotated:
    """The data set in a folder, recognised by what lies in it.

    - ``labels.csv`` with the columns file, class_index and, for boxes, x0, y0, x1, y1; a row for each box.
    - ``VOCdevkit/VOC20xx``: the "val" split; objects marked difficult are left out.
    - ImageNet: ``val/n01440764/*.JPEG`` and, for boxes, the XML files in ``Annotations/CLS-LOC/val``.
    - images alone, or a folder for each class, in alphabetical order.

    Raises:
        CAMError: there is none of these.
    """
    root = Path(folder)
    root = root.parent if root.name == "VOCdevkit" else root
    classes: Sequence[str] | None = None
    if (root / "labels.csv").is_file():
        entries = _listed(root)
    elif (root / "VOCdevkit").is_dir():
        entries, classes = _voc(root), VOC_CLASSES
    elif (root / "val").is_dir():
        entries, classes = _classes(root / "val", root / "Annotations" / "CLS-LOC" / "val")
    elif (root / "train").is_dir() or (root / "test").is_dir():
        raise CAMError(f"{root} holds several splits; pass the folder of one, such as {root / 'test'}")
    else:
        files = [file for file in sorted(root.glob("*")) if file.suffix.lower() in IMG_EXTENSIONS]
        folders = [child for child in root.glob("*") if child.is_dir()]
        entries = [(file, lambda: ([], None)) for file in files]
        if not entries and folders:
            entries, classes = _classes(root, root)
    if not entries:
        raise CAMError(
            f"{root} must hold labels.csv, VOCdevkit, val/, a folder for each class, or images; found none of these"
        )
    return Annotated(entries, transform, classes)


def _listed(root: Path) -> list[Entry]:
    rows: dict[str, list[dict[str, str]]] = {}
    with open(root / "labels.csv", newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            if not row.get("file") or not (row.get("class_index") or "").isdigit():
                raise CAMError(f"{root}/labels.csv must have the columns file and class_index (a number), got {row}")
            if row.get("difficult", "0") != "1":
                rows.setdefault(row["file"], []).append(row)

    def read(mine: list[dict[str, str]]) -> tuple[list[int], Boxes | None]:
        labels = [int(row["class_index"]) for row in mine]
        if not all(row.get("x0") for row in mine):
            return labels, None
        try:
            corners = [[float(row[key]) for key in ("x0", "y0", "x1", "y1")] for row in mine]
        except (KeyError, TypeError, ValueError) as error:
            raise CAMError(f"{root}/labels.csv must have the numbers x0, y0, x1, y1 in a row, got {mine}") from error
        return labels, [(x0, y0, x1, y1) for x0, y0, x1, y1 in corners]

    return [(root / name, partial(read, mine)) for name, mine in rows.items()]


def _voc(root: Path) -> list[Entry]:
    years = sorted(path.name.removeprefix("VOC") for path in (root / "VOCdevkit").glob("VOC20*"))
    if len(years) != 1:
        raise CAMError(f"{root}/VOCdevkit must hold one VOC20xx folder, found {', '.join(years) or 'none'}")
    data = VOCDetection(root, year=years[0], image_set="val")

    def read(file: str) -> tuple[list[int], Boxes]:
        found = [one for one in _objects(Path(file)) if one.findtext("difficult", "0") != "1"]
        # VOC counts pixels from one and both ends in.
        boxes = [(x0 - 1, y0 - 1, x1, y1) for x0, y0, x1, y1 in map(_corners, found)]
        names = [one.findtext("name", "") for one in found]
        if unknown := set(names) - {*VOC_CLASSES}:
            raise CAMError(f"{file} must name VOC's classes, got {', '.join(unknown)}")
        return [VOC_CLASSES.index(name) for name in names], boxes

    return [(Path(image), partial(read, xml)) for image, xml in zip(data.images, data.annotations, strict=True)]


def _classes(root: Path, annotated: Path) -> tuple[list[Entry], Sequence[str]]:
    def read(file: Path, label: int) -> tuple[list[int], Boxes | None]:
        xml = annotated / f"{file.stem}.xml"
        boxes = [_corners(one) for one in _objects(xml)] if xml.is_file() else None
        return [label] * (1 if boxes is None else len(boxes)), boxes

    try:
        folder = ImageFolder(str(root))
    except FileNotFoundError as error:
        raise CAMError(f"{root} must hold a folder with images for each class: {error}") from error
    files = [(Path(name), label) for name, label in folder.samples]
    return [(file, partial(read, file, label)) for file, label in files], folder.classes


def _objects(file: Path) -> list[ElementTree.Element]:
    try:
        return ElementTree.parse(file).getroot().findall("object")
    except ElementTree.ParseError as error:
        raise CAMError(f"{file} must be an annotation in XML: {error}") from error


def _corners(element: ElementTree.Element) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(element.findtext(f"bndbox/{key}", "nan")) for key in ("xmin", "ymin", "xmax", "ymax"))
    return x0, y0, x1, y1
