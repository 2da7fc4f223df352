"""What an evaluation has done so far, kept on disk so that it can go on after an interruption."""

import json
from pathlib import Path
from typing import Any

from captum_cams.errors import CAMError


class Journal:
    """One line of JSON for each finished batch, one file for each process.

    Args:
        folder: made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, settings: dict[str, Any]) -> None:
        """Claim the folder for these settings, and cut off what an interruption left half written.

        Raises:
            CAMError: the folder holds another evaluation, whose finished batches do not count for this one.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for torn in self.folder.glob("journal-*.jsonl"):
            text = torn.read_text()
            torn.write_text(text[: text.rfind("\n") + 1])
        file = self.folder / "settings.json"
        if not file.exists():
            file.write_text(json.dumps(settings, indent=2) + "\n")
            return
        before, now = json.loads(file.read_text()), json.loads(json.dumps(settings))
        changed = sorted(key for key in now | before if now.get(key) != before.get(key))
        if changed:
            raise CAMError(
                f"{self.folder} holds another evaluation, which differs in {', '.join(changed)}; "
                "pass another out, or delete that folder"
            )

    def finished(self) -> list[dict[str, Any]]:
        """The lines of all processes, one for each batch."""
        files = sorted(self.folder.glob("journal-*.jsonl"))
        entries = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        return list({entry["batch"]: entry for entry in entries}.values())

    def write(self, rank: int, entry: dict[str, Any]) -> None:
        """Add a finished batch."""
        with open(self.folder / f"journal-{rank}.jsonl", "a") as file:
            file.write(json.dumps(entry) + "\n")
