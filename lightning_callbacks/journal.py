"""What an evaluation has done so far, kept on disk so that it can go on after an interruption."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.errors import CAMError


class Journal:
    """One line of JSON for each finished batch, one file for each process.

    Args:
        folder: made if it is not there.
        settings: what has to be the same for finished batches to count.

    Raises:
        CAMError: the folder holds another evaluation.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.settings = json.loads(json.dumps(settings))

    def open(self) -> None:
        """Claim the folder for these settings, and cut off what an interruption left half written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for torn in self.folder.glob("journal-*.jsonl"):
            text = torn.read_text()
            torn.write_text(text[: text.rfind("\n") + 1])
        file = self.folder / "settings.json"
        if not file.exists():
            file.write_text(json.dumps(self.settings, indent=2) + "\n")
            return
        before = json.loads(file.read_text())
        changed = sorted(key for key in self.settings | before if self.settings.get(key) != before.get(key))
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


def fingerprint(model: nn.Module) -> str:
    """A hash of all parameters and buffers."""
    found = hashlib.sha256()
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor):
            found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
