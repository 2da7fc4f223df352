"""What an evaluation has done so far, kept on disk so that it can go on after an interruption."""

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
    """One line of JSON for each finished batch, one file for each process.

    Each line names its settings by a hash and holds a checksum, so that neither lines of another evaluation nor damaged
    ones are ever taken for results.

    Args:
        folder: made when the journal is opened.
        settings: of this evaluation.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder, self.settings = folder, plain(settings)
        self._mark = digest(self.settings)
        self._lock = FileLock(folder / ".lock")
        self.images: dict[int, dict[str, str | None]] = {}
        """The finished batches, with a hash of each of their images, or None where it could not be read."""

    def open(self, trainer: Trainer) -> list[dict[str, Any]]:
        """Claim the folder for this run; rank zero is given what is finished, one entry for each batch.

        Damaged lines are left out and named in one warning; their batches are done again.

        Raises:
            CAMError: another run is using the folder, or it holds another evaluation, whose finished batches do not
                count for this one.
        """
        entries: list[dict[str, Any]] = []
        answer: dict[int, dict[str, str | None]] | str = {}
        if trainer.is_global_zero:
            try:
                entries = self._claimed()
                answer = {entry["batch"]: entry["images"] for entry in entries}
            except CAMError as error:
                answer = str(error)  # the other processes wait for an answer
        answer = trainer.strategy.broadcast(answer)
        if isinstance(answer, str):
            raise CAMError(answer)
        self.images = answer
        return entries

    def has(self, batch: int, images: dict[str, str | None]) -> bool:
        """Whether the batch is finished.

        Raises:
            CAMError: it is, but its images were others.
        """
        before = self.images.get(batch)
        if before is None:
            return False
        changed = [index for index in images | before if images.get(index) != before.get(index)]
        if changed:
            raise self._other(
                f", whose image {changed[0]} or its labels were others (what changes at random is never the same)"
            )
        return True

    def _claimed(self) -> list[dict[str, Any]]:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise CAMError(f"another run is using {self.folder}; wait for its end, or pass another out") from error
        try:
            return self._finished()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let other runs have the folder. The operating system does so too when the process ends."""
        self._lock.release()

    def write(self, rank: int, entry: dict[str, Any]) -> None:
        """Add a finished batch."""
        with open(self.folder / f"journal-{rank}.jsonl", "a") as file:
            file.write(_line({"settings": self._mark, "entry": entry}))

    def _finished(self) -> list[dict[str, Any]]:
        files = {file: _read(file) for file in sorted(self.folder.glob("journal-*.jsonl"))}
        lines = [line for good, _ in files.values() for line in good]
        lost = sum(bad for _, bad in files.values())
        settings = self.folder / "settings.json"
        before = _settings(settings)
        changed = differences(before, self.settings) if before else []
        if before and changed and (lines or lost):
            raise self._other(f", which differs in {_listed(changed)}")
        if any(line["settings"] != self._mark for line in lines):
            raise self._other("; its settings.json is damaged or gone, so that what differs cannot be said")
        said = [f"{lost} damaged line{'s' * (lost > 1)} of the journal"] * bool(lost)
        said += ["the damaged settings.json"] * (before is None and settings.exists())
        if said:
            warnings.warn(f"{self.folder}: left out {' and '.join(said)}; what was lost is done again", stacklevel=2)
        for file, (good, bad) in files.items():
            if bad or not file.read_bytes().endswith(b"\n"):  # the next line would go on with the last one
                _replace(file, "".join(map(_line, good)))
        if before is None or changed:
            _replace(settings, json.dumps(self.settings, indent=2) + "\n")
        return list({line["entry"]["batch"]: line["entry"] for line in lines}.values())

    def _other(self, reason: str) -> CAMError:
        return CAMError(f"{self.folder} holds another evaluation{reason}; pass another out, or delete that folder")


def _line(content: dict[str, Any]) -> str:
    return json.dumps({"check": _check(content)} | content) + "\n"


def _check(content: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(content).encode())


def _read(file: Path) -> tuple[list[dict[str, Any]], int]:
    """The lines that are whole, and the number of the others."""
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
    """What the file holds, or None where it is not there or damaged."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found else None


def _replace(file: Path, text: str) -> None:
    """Write the file as a whole, or leave the old one."""
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)


def _listed(changed: list[str]) -> str:
    return ", ".join(changed[:4]) + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")
