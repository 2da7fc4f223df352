"""Save the finished batches of an evaluation, so that it can continue after an interruption."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pytorch_lightning import Trainer

from captum_cams.errors import CAMError
from lightning_callbacks.evaluation.fingerprints import digest
from lightning_callbacks.evaluation.lines import append, ends_in_line, replace, rewrite, whole_lines
from lightning_callbacks.evaluation.settings import differences, listed, plain


class Journal:
    """A file for each process, with a line of JSON for each finished batch.

    Each line has a hash of the settings and a checksum, so that lines of another evaluation and damaged lines are never
    used as results. Lines are read one by one, because a journal may be larger than the results in memory.

    Args:
        folder: the folder of the files; it is made when the journal is opened.
        settings: the settings of this evaluation.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder, self.settings = folder, plain(settings)
        self._mark = digest(self.settings)
        self._lock = FileLock(folder / ".lock")
        self.images: dict[int, dict[str, str | None]] = {}
        """The finished batches, with a hash of each image, or None if the image could not be read."""

    def open(self, trainer: Trainer) -> None:
        """Claim the folder for this run and find the finished batches.

        Damaged lines are left out with one warning; their batches are computed again.

        Raises:
            CAMError: another run is using the folder, or the folder has another evaluation.
        """
        answer: dict[int, dict[str, str | None]] | str = {}
        if trainer.is_global_zero:
            try:
                answer = self._claimed()
            except CAMError as error:
                answer = str(error)  # the other processes are waiting for an answer
        answer = trainer.strategy.broadcast(answer)
        if isinstance(answer, str):
            raise CAMError(answer)
        self.images = answer

    def entries(self) -> Iterator[dict[str, Any]]:
        """Read the entries of the finished batches, each once; only process zero may do so."""
        return entries_in(self.folder, self._mark)

    def has(self, batch: int, images: dict[str, str | None]) -> bool:
        """Whether the batch is finished.

        Raises:
            CAMError: it is finished, but with other images or labels.
        """
        before = self.images.get(batch)
        if before is None:
            return False
        changed = [index for index in images | before if images.get(index) != before.get(index)]
        if changed:
            raise self._other(
                f", whose image {changed[0]} or its labels were different (random transforms make images different)"
            )
        return True

    def _claimed(self) -> dict[int, dict[str, str | None]]:
        """Lock the folder and find its finished batches."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise CAMError(f"another run is using {self.folder}; wait until it ends, or pass another out") from error
        try:
            return self._finished()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the folder for other runs. The operating system does this too when the process ends."""
        self._lock.release()

    def write(self, rank: int, entry: dict[str, Any]) -> None:
        """Add a finished batch."""
        self.folder.mkdir(parents=True, exist_ok=True)  # another node may have its own disk
        append(self.folder / f"journal-{rank}.jsonl", {"settings": self._mark, "entry": entry})

    def _finished(self) -> dict[int, dict[str, str | None]]:
        """Check the lines of all processes, repair damaged files, and write the settings."""
        images: dict[int, dict[str, str | None]] = {}
        foreign, damaged = False, dict[Path, int]()
        for file in _files(self.folder):
            damaged[file] = 0
            for line in whole_lines(file):
                if line is None:
                    damaged[file] += 1
                elif line["settings"] != self._mark:
                    foreign = True
                else:
                    images.setdefault(line["entry"]["batch"], line["entry"]["images"])
        lost, file = sum(damaged.values()), self.folder / "settings.json"
        before = settings_in(self.folder)
        changed = differences(before, self.settings) if before else []
        if before and changed and (images or foreign or lost):
            raise self._other(f", which differs in {listed(changed)}")
        if foreign:
            raise self._other(", and its settings.json is damaged or missing, so the difference is not known")
        said = [f"{lost} damaged line{'s' * (lost > 1)} of the journal"] * bool(lost)
        said += ["the damaged settings.json"] * (before is None and file.exists())
        if said:
            warnings.warn(
                f"{self.folder}: left out {' and '.join(said)}; the lost batches are computed again", stacklevel=2
            )
        for journal, bad in damaged.items():
            if bad or not ends_in_line(journal):  # else the next line would continue the last line
                rewrite(journal)
        if before is None or changed:
            replace(file, json.dumps(self.settings, indent=2) + "\n")
        return images

    def _other(self, reason: str) -> CAMError:
        """The error for a folder with another evaluation."""
        return CAMError(f"{self.folder} holds another evaluation{reason}; pass another out, or delete that folder")


def settings_in(folder: Path) -> dict[str, Any] | None:
    """The settings of the evaluation in a folder, or None if their file is missing or damaged."""
    try:
        found = json.loads((folder / "settings.json").read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found else None


def entries_in(folder: Path, mark: str) -> Iterator[dict[str, Any]]:
    """Read the whole entries of a folder with this hash of the settings; each batch once."""
    seen = set[int]()
    for file in _files(folder):
        for line in whole_lines(file):
            if line is not None and line["settings"] == mark and line["entry"]["batch"] not in seen:
                seen.add(line["entry"]["batch"])
                yield line["entry"]


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("journal-*.jsonl"))
