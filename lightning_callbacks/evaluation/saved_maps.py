"""Save the maps of an evaluation, batch by batch."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import captum
import torch
from pytorch_lightning import Trainer
from torch import Tensor

import captum_cams
from captum_cams import CAMAttribution, CAMError
from captum_cams.adapters.fingerprint import fingerprint
from captum_cams.adapters.map_folder import (
    MapFormat,
    Maps,
    check_format,
    file_of,
    read_manifest,
    write_batch,
    write_manifest,
)
from captum_cams.engine.layers import dotted
from captum_cams.images import size_of


class SavedMaps:
    """A folder to which an evaluation writes its maps, from any number of processes that share the folder.

    The file of a batch is written before the batch enters the journal, so a continued evaluation has all files.

    Args:
        folder: the folder; it is made when it is opened.
        explainers: the explainers by name.
        kind: the format of the files.

    Raises:
        CAMError: files of this format cannot be written.
    """

    def __init__(self, folder: Path, explainers: Mapping[str, CAMAttribution], kind: MapFormat) -> None:
        check_format(kind)
        self.folder, self.explainers, self.kind = folder, explainers, kind
        self._parts: dict[str, list[Tensor]] = {}
        self._rows: list[tuple[int, int, str]] = []
        self._size: list[int] = []

    def open(self, trainer: Trainer, evaluation: str | None, finished: Iterable[int]) -> None:
        """Claim the folder for this evaluation.

        Args:
            trainer: the Trainer of the evaluation.
            evaluation: a hash of its settings; None if it has no journal, and so cannot be continued.
            finished: the batches in the journal that have images.

        Raises:
            CAMError: the folder has other maps, or not the maps of the finished batches.
        """
        answer = None
        if trainer.is_global_zero:
            try:
                self._claim(evaluation, finished)
            except CAMError as error:
                answer = str(error)  # the other processes are waiting for an answer
        answer = trainer.strategy.broadcast(answer)
        if answer is not None:
            raise CAMError(answer)

    def _claim(self, evaluation: str | None, finished: Iterable[int]) -> None:
        before = read_manifest(self.folder)
        if before is not None and (evaluation is None or before["evaluation"] != evaluation):
            raise CAMError(
                f"{self.folder} holds the maps of another evaluation; pass another save_maps, or delete it (to "
                "continue an interrupted evaluation, pass its out and the same arguments)"
            )
        if before is not None and (of := before.get("files", "npz")) != self.kind:
            raise CAMError(
                f'{self.folder} holds {of} files of this evaluation, got map_format="{self.kind}"; continue with '
                f'map_format="{of}", or pass another out and another save_maps'
            )
        missing = [batch for batch in finished if not self._file(batch).exists()]
        if missing:
            raise CAMError(
                f"{self.folder} must have the maps of the finished batches, but batch {missing[0]} was measured "
                "without save_maps; pass another out, so that all batches are explained again"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_manifest(self.folder, self._about(evaluation, before))

    def add(self, name: str, maps: Tensor, images: Tensor, classes: Sequence[int], indices: Sequence[int]) -> None:
        """Remember the maps of one method until the batch is written.

        Args:
            name: the name of the method.
            maps: P×1×h×w.
            images: the image of each of the P pairs.
            classes: the class of each pair.
            indices: the index of the image of each pair.
        """
        self._parts.setdefault(name, []).append(maps.detach().cpu())
        if name == next(iter(self.explainers)):
            self._rows += zip(indices, classes, map(fingerprint, images), strict=True)
            self._size = [*size_of(images)]

    def write(self, batch: int) -> None:
        """Write the file of a batch, unless no pair of image and class was explained in it."""
        if self._rows:
            maps = {name: torch.cat(parts) for name, parts in self._parts.items()}
            images, classes, marks = (list(column) for column in zip(*self._rows, strict=True))
            write_batch(self.folder, batch, Maps(images, classes, marks, self._size, maps), self.kind)
        self._parts, self._rows = {}, []

    def close(self, evaluation: str | None, batches: Iterable[int]) -> None:
        """Complete the manifest; all processes have written their batches.

        Args:
            evaluation: as in :meth:`open`.
            batches: the numbers of all batches of the evaluation.
        """
        written = [file for file in map(self._file, batches) if file.exists()]
        write_manifest(self.folder, self._about(evaluation, read_manifest(self.folder)), written)

    def _file(self, batch: int) -> Path:
        return file_of(self.folder, batch, self.kind)

    def _about(self, evaluation: str | None, before: Mapping[str, Any] | None) -> dict[str, Any]:
        """The entries of the manifest; layers that another run or process has found are kept."""
        known = {} if before is None else before["methods"]
        versions = {"captum_cams": captum_cams.__version__, "torch": torch.__version__, "captum": captum.__version__}
        return {
            "evaluation": evaluation,
            "files": self.kind,
            "versions": versions,
            "methods": {name: _about(one, known.get(name, {})) for name, one in self.explainers.items()},
        }


def _about(explainer: CAMAttribution, before: Mapping[str, Any]) -> dict[str, Any]:
    layer = dotted(explainer.forward_func, explainer.layer) if explainer.layer is not None else before.get("layer")
    return {
        "class": f"{type(explainer).__module__}.{type(explainer).__qualname__}",
        "layer": layer,
        "hyperparameters": explainer.hyperparameters,
    }
