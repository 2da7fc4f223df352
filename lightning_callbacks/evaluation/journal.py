"""Save the finished batches of an evaluation, so that it can continue after an interruption."""

import json
import os
import warnings
import zlib
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pytorch_lightning import Trainer

from captum_cams.errors import CAMError
from lightning_callbacks.evaluation.fingerprints import digest
from lightning_callbacks.evaluation.settings import differences, plain


class Journal:
    """A file for each process, with a line of JSON for each finished batch.

    Each line has a hash of the settings and a checksum, so that lines of another evaluation and damaged lines are never
    used as results.

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

    def open(self, trainer: Trainer) -> list[dict[str, Any]]:
        """Claim the folder for this run and read the finished batches; only process zero gets them, others get none.

        Damaged lines are left out with one warning; their batches are computed again.

        Raises:
            CAMError: another run is using the folder, or the folder has another evaluation.
        """
        entries: list[dict[str, Any]] = []
        answer: dict[int, dict[str, str | None]] | str = {}
        if trainer.is_global_zero:
            try:
                entries = self._claimed()
                answer = {entry["batch"]: entry["images"] for entry in entries}
            except CAMError as error:
                answer = str(error)  # the other processes are waiting for an answer
        answer = trainer.strategy.broadcast(answer)
        if isinstance(answer, str):
            raise CAMError(answer)
        self.images = answer
        return entries

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

    def _claimed(self) -> list[dict[str, Any]]:
        """Lock the folder and read its finished batches."""
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
        with open(self.folder / f"journal-{rank}.jsonl", "a") as file:
            file.write(_line({"settings": self._mark, "entry": entry}))

    def _finished(self) -> list[dict[str, Any]]:
        """Read the lines of all processes, and write the settings."""
        files = {file: _read(file) for file in sorted(self.folder.glob("journal-*.jsonl"))}
        lines = [line for good, _ in files.values() for line in good]
        lost = sum(bad for _, bad in files.values())
        settings = self.folder / "settings.json"
        before = _settings(settings)
        changed = differences(before, self.settings) if before else []
        if before and changed and (lines or lost):
            raise self._other(f", which differs in {_listed(changed)}")
        if any(line["settings"] != self._mark for line in lines):
            raise self._other(", and its settings.json is damaged or missing, so the difference is not known")
        said = [f"{lost} damaged line{'s' * (lost > 1)} of the journal"] * bool(lost)
        said += ["the damaged settings.json"] * (before is None and settings.exists())
        if said:
            warnings.warn(
                f"{self.folder}: left out {' and '.join(said)}; the lost batches are computed again", stacklevel=2
            )
        for file, (good, bad) in files.items():
            if bad or not file.read_bytes().endswith(b"\n"):  # else the next line would continue the last line
                _replace(file, "".join(map(_line, good)))
        if before is None or changed:
            _replace(settings, json.dumps(self.settings, indent=2) + "\n")
        return list({line["entry"]["batch"]: line["entry"] for line in lines}.values())

    def _other(self, reason: str) -> CAMError:
        """The error for a folder with another evaluation."""
        return CAMError(f"{self.folder} holds another evaluation{reason}; pass another out, or delete that folder")


def _line(content: dict[str, Any]) -> str:
    return json.dumps({"check": _check(content)} | content) + "\n"


def _check(content: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(content).encode())


def _read(file: Path) -> tuple[list[dict[str, Any]], int]:
    """The complete lines, and the number of damaged lines."""
    good, bad = [], 0
    for text in file.read_bytes().split(b"\n"):
        if not text:
            continue
        try:
            line = json.loads(text)
            content = {key: line[key] for key in ("settings", "entry")}
            whole = _check(content) == line["check"]
        except (ValueError, TypeError, KeyError):
            whole = False
        if whole:
            good.append(content)
        bad += not whole
    return good, bad


def _settings(file: Path) -> dict[str, Any] | None:
    """The settings in the file, or None if the file is missing or damaged."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found else None


def _replace(file: Path, text: str) -> None:
    """Write the complete file, or leave the old file as it was."""
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)


def _listed(changed: list[str]) -> str:
    return ", ".join(changed[:4]) + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")
