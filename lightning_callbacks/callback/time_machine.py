"""Write the explanations of a training run as a page with a slider over its epochs."""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer

from captum_cams.adapters.fingerprint import fingerprint
from captum_cams.visual import displayable
from lightning_callbacks.callback.explained import KINDS, Explained
from lightning_callbacks.callback.report import Report
from lightning_callbacks.callback.training_charts import training_charts
from lightning_callbacks.pages.page import render
from lightning_callbacks.pages.pictures import photograph, small_map

Frame = dict[str, Any]
"""One explained validation, as values for JSON: its epoch, its step, its scalars, its rows, and its new photographs."""

SHARPEST = 3
"""The number of changes of the maps that the page marks."""


class TimeMachine:
    """The page of one run: ``<prefix>_report.html``, written again after each explained validation.

    Beside it, ``<prefix>_report.jsonl`` has a line for each explained validation. A run that continues from a
    checkpoint takes over the lines before its first step.

    Args:
        report: knows the prefix, the methods, the normalisation and the names of the classes.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self.name = report.prefix.replace("/", "_") + "_report"
        self.file: Path | None = None
        """The file with the lines, once there is one."""
        self.earlier: Path | None = None
        """The file with the lines of the run that this run continues."""
        self._frames: list[Frame] = []

    def see(self, trainer: Trainer, explained: Mapping[str, Sequence[Explained]]) -> None:
        """Add the validation that a Trainer has explained, if it is a part of a training; all processes must call this.

        Args:
            trainer: the Trainer, at the end of its validation.
            explained: the explained images of each data loader.
        """
        folder = Path(trainer.log_dir or trainer.default_root_dir)
        if trainer.state.fn == "fit" and trainer.is_global_zero:
            images = {split: [row for row in rows if row.image.ndim == 3] for split, rows in explained.items()}
            if any(images.values()):
                values = {tag: float(value) for tag, value in trainer.callback_metrics.items()}
                finite = {tag: value for tag, value in values.items() if math.isfinite(value)}
                self.add(folder, trainer.current_epoch, trainer.global_step, images, finite)

    def add(
        self,
        folder: Path,
        epoch: int,
        step: int,
        explained: Mapping[str, Sequence[Explained]],
        scalars: Mapping[str, float],
    ) -> Path:
        """Add an explained validation to the lines and write the page.

        Args:
            folder: the folder of the page.
            epoch: the epoch of the training.
            step: the number of training steps so far.
            explained: the explained images of each data loader.
            scalars: all values that the run has logged, by tag.

        Returns:
            The file of the page.
        """
        if self.file is None:
            self._begin(folder, step)
        seen = {key for frame in self._frames for key in frame["photographs"]}
        photographs: dict[str, dict[str, str]] = {}
        rows: dict[str, list[dict[str, Any]]] = {}
        for split, images in explained.items():
            rows[split] = []
            for image in images:
                key = fingerprint(image.image)
                rows[split].append({"image": key, **self._row(image)})
                if key not in seen | photographs.keys():
                    photographs[key] = {"address": self._photograph(image), "true": self._true(image)}
        frame = {
            "epoch": epoch,
            "step": step,
            "scalars": dict(scalars),
            "rows": rows,
            "photographs": photographs,
        }
        self._frames.append(frame)
        assert self.file is not None
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(frame) + "\n")
        return _replaced(self.file.with_suffix(".html"), self.page())

    def page(self) -> str:
        """The text of the page."""
        last = self._frames[-1]
        charts = training_charts([frame["scalars"] for frame in self._frames], self.report.prefix)
        data = {
            "frames": [{key: frame[key] for key in ("epoch", "step", "rows")} for frame in self._frames],
            "photographs": {key: each for frame in self._frames for key, each in frame["photographs"].items()},
            "splits": list(last["rows"]),
            "columns": self._columns(),
            "charts": charts,
            "changes": sharpest_changes(self._frames),
            "quantity": "value" if self.report.quantity == "value" else "p",
        }
        count = f"{len(self._frames)} explained validation{'s' * (len(self._frames) > 1)}"
        methods = ", ".join(self.report.methods)
        lead = f"{count}, epochs {self._frames[0]['epoch']} to {last['epoch']}; methods: {methods}."
        return render("time_machine.html", data, title="What the network looks at while it learns", lead=lead)

    def _begin(self, folder: Path, step: int) -> None:
        """Take over the lines of an earlier run, and start the file."""
        earlier = [] if self.earlier is None else [one for one in read_frames(self.earlier) if one["step"] < step]
        self._frames = earlier
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / f"{self.name}.jsonl"
        _replaced(self.file, "".join(json.dumps(frame) + "\n" for frame in earlier))

    def _row(self, image: Explained) -> dict[str, Any]:
        """What the network says of an image, and its maps."""
        known = [index for index in image.annotation.classes if index >= 0]
        return {
            "predicted": self._class(image, image.predicted),
            "right": image.predicted in known if known else None,
            "score": round(float(image.probabilities[image.predicted]), 4),
            "drift": {method: round(value, 4) for method, value in image.drift.items() if value == value},
            "maps": {
                method if kind == "predicted" else f"{method}, true class": small_map(maps[kind][0])
                for method, maps in image.maps.items()
                for kind in KINDS
                if kind in maps
            },
        }

    def _columns(self) -> list[str]:
        rows = [row for frame in self._frames for found in frame["rows"].values() for row in found]
        return list(dict.fromkeys(name for row in rows for name in row["maps"]))

    def _photograph(self, image: Explained) -> str:
        return photograph(displayable(image.image[None], self.report.mean, self.report.std)[0])

    def _class(self, image: Explained, index: int) -> str:
        count = len(image.probabilities)
        return str(self.report.class_names[index]) if len(self.report.class_names) == count > index else str(index)

    def _true(self, image: Explained) -> str:
        return ", ".join(self._class(image, index) for index in image.annotation.classes if index >= 0)


def read_frames(file: Path) -> list[Frame]:
    """Read the lines of a run; a last line that was not written to its end is left out."""
    frames = []
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                frames.append(json.loads(line))
            except ValueError:
                break
    return frames


def sharpest_changes(frames: Sequence[Frame], count: int = SHARPEST) -> list[dict[str, Any]]:
    """Find the validations before which the maps have changed most.

    Args:
        frames: the explained validations.
        count: the largest number of changes.

    Returns:
        The number of each frame, in the order of the run, with the mean rank correlation of its maps with those of the
        frame before: the lowest means, if they are below 1.
    """
    means = {}
    for number, frame in enumerate(frames):
        drifts = [value for rows in frame["rows"].values() for row in rows for value in row["drift"].values()]
        if number and drifts and (mean := sum(drifts) / len(drifts)) < 1:
            means[number] = mean
    lowest: Iterable[int] = sorted(means, key=lambda number: means[number])[:count]
    return [{"frame": number, "correlation": means[number]} for number in sorted(lowest)]


def _replaced(file: Path, text: str) -> Path:
    """Write a file so that a reader finds the old text or the new one, never a part."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, file)
    return file
