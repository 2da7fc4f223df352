"""Open a folder of images as a data set with the annotated classes and boxes."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.datasets import ImageFolder, VOCDetection
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms import v2

from captum_cams.errors import CAMError
from lightning_callbacks.command.labels import Boxes, read_labels
from lightning_callbacks.command.read_image import read_image

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)

ClassNames = Sequence[str] | Mapping[int, str] | None
Entry = tuple[Path, Callable[[], tuple[list[int], Boxes | None]]]
"""A file, and a function that reads its classes, with a box for each class or with None."""


class Annotated(Dataset):
    """A data set of images C×H×W with {"labels": B, "boxes": B×4}, or {"labels": B} if there are no boxes.

    Boxes are in pixels of the upright image; see :func:`read_image`.

    Args:
        entries: the files and their annotations.
        transform: a transform of ``torchvision.transforms.v2``, which moves the boxes together with the image. Boxes
            outside of the transformed image are removed.
        classes: names of the classes by index, if the folder has them.
    """

    def __init__(self, entries: list[Entry], transform: Callable[..., Any], classes: ClassNames = None) -> None:
        self.entries, self.transform, self.classes = entries, transform, classes
        # Rounding may put the edge of a box outside of the image, and the box would be removed; clamp it first.
        sanitized = v2.SanitizeBoundingBoxes(labels_getter=lambda sample: sample[1]["labels"])
        self.within = v2.Compose([v2.ClampBoundingBoxes(), sanitized])

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        file, read = self.entries[index]
        picture = read_image(file)
        labels, boxes = read()
        target = {"labels": torch.tensor(labels, dtype=torch.long)}
        if boxes is None:
            return self.transform(picture), target
        inside = _inside(file, boxes, picture.width, picture.height)
        size = (picture.height, picture.width)
        target["boxes"] = tv_tensors.BoundingBoxes(inside, format="XYXY", canvas_size=size)
        image, target = self.within(self.transform(picture, target))
        return image, target | {"boxes": target["boxes"].as_subclass(Tensor)}


def collate(items: list[tuple[Tensor, dict[str, Tensor]]]) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Make a batch: images N×C×H×W, and a list of their annotations."""
    images, targets = zip(*items, strict=True)
    return torch.stack(images), list(targets)


def open_folder(folder: str | Path, transform: Callable[..., Any]) -> Annotated:
    """Open the data set in a folder. The folder must have one of these:

    - ``labels.csv``; see :func:`read_labels`.
    - ``VOCdevkit/VOC20xx``: the "val" split without objects that are marked as difficult.
    - ImageNet: ``val/n01440764/*.JPEG`` and, for boxes, the XML files in ``Annotations/CLS-LOC/val``.
    - only images, or one folder for each class, in alphabetical order.

    Raises:
        CAMError: the folder has none of these, or a file in it is not valid.
    """
    root = Path(folder)
    root = root.parent if root.name == "VOCdevkit" else root
    classes: ClassNames = None
    entries: list[Entry]
    if (root / "labels.csv").is_file():
        listed, classes = read_labels(root / "labels.csv")
        entries = [(root / name, partial(_given, one)) for name, one in listed.items()]
    elif (root / "VOCdevkit").is_dir():
        entries, classes = _voc(root), VOC_CLASSES
    elif (root / "val").is_dir():
        entries, classes = _classes(root / "val", root / "Annotations" / "CLS-LOC" / "val")
    elif (root / "train").is_dir() or (root / "test").is_dir():
        raise CAMError(
            f"{root} must be one data set, but it has several splits; pass the folder of one, such as {root / 'test'}"
        )
    else:
        files = [file for file in sorted(root.glob("*")) if file.suffix.lower() in IMG_EXTENSIONS]
        folders = [child for child in root.glob("*") if child.is_dir()]
        entries = [(file, lambda: ([], None)) for file in files]
        if not entries and folders:
            entries, classes = _classes(root, root)
    if not entries:
        raise CAMError(
            f"{root} must have labels.csv, VOCdevkit, val/, a folder for each class, or images; found none of these"
        )
    outside = [file for file, _ in entries if not _lies_in(file, root)]
    if outside:
        raise CAMError(
            f"the images must be inside the folder {root}, got {outside[0]}; copy or link them into the folder"
        )
    return Annotated(entries, transform, classes)


def _lies_in(file: Path, root: Path) -> bool:
    """Whether the path stays inside the folder; links inside the folder may point anywhere."""
    return file.is_relative_to(root) and ".." not in file.relative_to(root).parts


def _given(annotation: tuple[list[int], Boxes | None]) -> tuple[list[int], Boxes | None]:
    """The annotation itself, when it is already read."""
    return annotation


def _inside(file: Path, boxes: Boxes, width: int, height: int) -> Tensor:
    """Make a tensor of the boxes, B×4, clipped to the image; a box may exceed the image by one pixel of rounding.

    Raises:
        CAMError: a box is empty, or exceeds the image by more.
    """
    for box in boxes:
        x0, y0, x1, y1 = box
        if not (all(map(isfinite, box)) and -1 <= x0 < x1 <= width + 1 and -1 <= y0 < y1 <= height + 1):
            raise CAMError(
                f"each box must have x0 < x1 and y0 < y1 in pixels of {file}, which is {width}×{height} as viewers "
                f"show it, got {x0:g}, {y0:g}, {x1:g}, {y1:g}; correct the annotation"
            )
    limits = torch.tensor([width, height, width, height])
    return torch.tensor(boxes).view(-1, 4).clamp(min=0).minimum(limits)


def _voc(root: Path) -> list[Entry]:
    """The images of Pascal VOC."""
    years = sorted(path.name.removeprefix("VOC") for path in (root / "VOCdevkit").glob("VOC20*"))
    if len(years) != 1:
        raise CAMError(f"{root}/VOCdevkit must have exactly one VOC20xx folder, found {', '.join(years) or 'none'}")
    data = VOCDetection(root, year=years[0], image_set="val")

    def read(file: str) -> tuple[list[int], Boxes]:
        found = [item for item in _objects(Path(file)) if item.findtext("difficult", "0") != "1"]
        # VOC counts pixels from 1, and its boxes include both ends.
        boxes = [(x0 - 1, y0 - 1, x1, y1) for x0, y0, x1, y1 in map(_corners, found)]
        names = [item.findtext("name", "") for item in found]
        if unknown := set(names) - {*VOC_CLASSES}:
            raise CAMError(
                f"{file} must have class names of Pascal VOC, got {', '.join(unknown)}; correct the annotation"
            )
        return [VOC_CLASSES.index(name) for name in names], boxes

    return [(Path(image), partial(read, xml)) for image, xml in zip(data.images, data.annotations, strict=True)]


def _classes(root: Path, annotated: Path) -> tuple[list[Entry], Sequence[str]]:
    """The images in a folder for each class, with the boxes of XML files, and the names of the classes."""

    def read(file: Path, label: int) -> tuple[list[int], Boxes | None]:
        xml = annotated / f"{file.stem}.xml"
        boxes = [_corners(item) for item in _objects(xml)] if xml.is_file() else None
        return [label] * (1 if boxes is None else len(boxes)), boxes

    try:
        folder = ImageFolder(str(root))
    except FileNotFoundError as error:
        raise CAMError(f"{root} must have a folder with images for each class: {error}") from error
    files = [(Path(name), label) for name, label in folder.samples]
    return [(file, partial(read, file, label)) for file, label in files], folder.classes


def _objects(file: Path) -> list[ElementTree.Element]:
    """The annotated objects in an XML file."""
    try:
        return ElementTree.parse(file).getroot().findall("object")
    except (ElementTree.ParseError, OSError) as error:
        raise CAMError(f"{file} must be a valid XML annotation: {error}") from error


def _corners(element: ElementTree.Element) -> tuple[float, float, float, float]:
    """The numbers of a box; NaN stands for a text that is not a number, which :func:`_inside` refuses."""
    x0, y0, x1, y1 = (_number(element.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax"))
    return x0, y0, x1, y1


def _number(text: str | None) -> float:
    """The number that a text means, or NaN."""
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")
