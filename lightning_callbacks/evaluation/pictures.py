"""Keep the photographs and small maps of some images while they are evaluated, for the report."""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captum_cams.images import look_channels_last
from captum_cams.metrics.annotation import Annotation
from captum_cams.metrics.presets import Imputation, Preset, Replacement
from captum_cams.visual import displayable
from lightning_callbacks.evaluation.lines import replace
from lightning_callbacks.evaluation.sampling import draw
from lightning_callbacks.pages.pictures import photograph, small_map

KEPT = 100
"""The number of images of an evaluation whose pictures are kept."""


class Pictures:
    """A file for each kept image, in the folder ``pictures`` beside the journal, from any number of processes.

    The images are a sample that is the same in every run. The file of an image is written before its batch enters the
    journal, so a continued evaluation has all files. An evaluation goes on without pictures if they cannot be made.

    Args:
        folder: the folder of the evaluation; None keeps nothing.
        mark: a hash of its settings.
        indices: the indices of all images of the evaluation.
        preset: how the curves replace pixels, or None if no metric draws curves.
        names: the names of the classes, if they are known.
    """

    def __init__(
        self,
        folder: Path | None,
        mark: str | None,
        indices: Sequence[int],
        preset: Preset | None,
        names: Sequence[str] | Mapping[int, str] | None,
    ) -> None:
        self.folder, self.mark, self.preset = folder, mark, preset
        self.names = () if names is None else names
        self.chosen = set[int]() if folder is None else {*draw(indices)[:KEPT]}
        self._found: dict[int, dict[str, Any]] = {}

    def begin(self, images: Tensor, known: Sequence[Annotation], scores: Tensor, indices: Sequence[int]) -> None:
        """Remember the photographs of a batch.

        Args:
            images: N×C×H×W; volumes and signals have no photographs.
            known: the annotation of each image.
            scores: the scores of the images, N×classes.
            indices: the index of each image.
        """
        self._found = {}
        kept = [place for place, index in enumerate(indices) if index in self.chosen and images.ndim == 4]
        with self._spared():
            for place in kept:
                self._found[indices[place]] = {
                    "image": indices[place],
                    **self._truth(known[place], scores[place]),
                    **self._photographs(images[place : place + 1]),
                    "rows": {},
                }

    def add(
        self, method: str, maps: Tensor, classes: Sequence[int], indices: Sequence[int], curves: Tensor | None
    ) -> None:
        """Remember the maps of one method; of several seeds, the first.

        Args:
            method: the name of the method.
            maps: P×1×h×w.
            classes: the class of each of P pairs.
            indices: the index of the image of each pair.
            curves: P×2×(steps + 1), or None.
        """
        for number, (index, of) in enumerate(zip(indices, classes, strict=True)):
            if index in self._found:
                with self._spared():
                    row = self._found[index]["rows"].setdefault(str(of), {})
                    both = None if curves is None else [[round(x, 4) for x in one] for one in curves[number].tolist()]
                    row.setdefault(method, {"map": small_map(maps[number, 0]), "curves": both})

    def write(self) -> None:
        """Write the files of the batch."""
        for index, found in self._found.items():
            with self._spared():
                file = _file(self.folder or Path(), index)
                file.parent.mkdir(parents=True, exist_ok=True)
                replace(file, json.dumps({"settings": self.mark, **found}))
        self._found = {}

    def _truth(self, known: Annotation, scores: Tensor) -> dict[str, Any]:
        """Labels, predicted class and names of the classes of an image; no labels if they mean other classes."""
        foreign = not isinstance(self.names, Mapping) and len(self.names) not in (0, len(scores))
        known = Annotation() if foreign else known
        predicted = int(scores.argmax()) if len(scores) > 1 else None
        classes = set[int]() if foreign or predicted is None else {*known.classes, predicted}
        return {
            "labels": [*known.classes] if known.labelled else None,
            "predicted": predicted,
            "names": {str(index): _name(self.names, index) for index in classes},
        }

    def _photographs(self, image: Tensor) -> dict[str, str]:
        """The image, and what stands in the place of its removed pixels, in one scale of brightness."""
        image = (image.movedim(-1, 1) if look_channels_last(image) else image).detach().float()
        found = {"photograph": image}
        if self.preset is not None:
            others: dict[str, Replacement] = {
                "deleted": self.preset.deleted,
                "inserted_into": self.preset.inserted_into,
            }
            plain = {key: one for key, one in others.items() if not isinstance(one, Imputation)}
            found |= {key: one(image) for key, one in plain.items()}
        shown = displayable(torch.cat([*found.values()], 3)).chunk(len(found), 3)
        return {key: photograph(one[0]) for key, one in zip(found, shown, strict=True)}

    @contextmanager
    def _spared(self) -> Iterator[None]:
        try:
            with torch.autocast("cpu", enabled=False):  # its numbers have too few digits for a blur
                yield
        except Exception as error:  # a report is worth less than the evaluation
            self.chosen, self._found = set(), {}
            warnings.warn(f"the report will lack pictures: {type(error).__name__}: {error}", stacklevel=3)


def _name(names: Sequence[str] | Mapping[int, str], index: int) -> str:
    given: Any = names.get(index) if isinstance(names, Mapping) else [*names[index : index + 1]]
    while isinstance(given, list | tuple) and given:  # a tuple holds synonyms
        given = given[0]
    return str(given) if given else f"class {index}"


def read_pictures(folder: Path, mark: str) -> list[dict[str, Any]]:
    """Read the kept images of a folder by their index; files of an evaluation with another hash are left out."""
    found = []
    for file in (folder / "pictures").glob("*.json"):
        try:
            content = json.loads(file.read_bytes())
        except ValueError:
            continue
        if content.pop("settings", None) == mark:
            found.append(content)
    return sorted(found, key=lambda one: one["image"])


def copy_pictures(source: Path, mark: str, folder: Path, new: str) -> None:
    """Copy the kept images of an evaluation with one hash into the folder of another evaluation."""
    for content in read_pictures(source, mark):
        file = _file(folder, content["image"])
        file.parent.mkdir(parents=True, exist_ok=True)
        replace(file, json.dumps({"settings": new, **content}))


def _file(folder: Path, index: int) -> Path:
    return folder / "pictures" / f"{index:08}.json"
