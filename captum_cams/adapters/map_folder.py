"""The folder of stored maps: a file of each batch, and a manifest that says what is in them."""

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from captum_cams.errors import CAMError

FORMAT = 1
"""The format of the files; files of another format are refused."""


class Maps(NamedTuple):
    """The maps of one batch.

    Args:
        images: the index of the image of each of R rows.
        classes: the explained class of each row.
        fingerprints: the fingerprint of the image of each row.
        size: height and width of the images.
        of: method → maps R×1×h×w.
    """

    images: list[int]
    classes: list[int]
    fingerprints: list[str]
    size: list[int]
    of: Mapping[str, Tensor]


def file_of(folder: Path, batch: int) -> Path:
    """The file of a batch."""
    return folder / f"batch-{batch:08}.npz"


def write_batch(folder: Path, batch: int, maps: Maps) -> None:
    """Write the complete file of a batch, or leave the old file as it was."""
    arrays = {
        "methods": np.array([*maps.of], dtype=str),
        "image": np.array(maps.images),
        "class_index": np.array(maps.classes),
        "fingerprint": np.array(maps.fingerprints),
        "image_size": np.array(maps.size),
        "map_sizes": np.array([one.shape[2:] for one in maps.of.values()]),
        **{f"map_{number}": _array(one) for number, one in enumerate(maps.of.values())},
    }
    target = file_of(folder, batch)
    new = target.with_suffix(f".{os.getpid()}.new")
    with open(new, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    os.replace(new, target)


def read_maps(file: Path, method: str) -> np.ndarray:
    """Read the maps R×1×h×w of one method from the file of a batch."""
    with np.load(file) as arrays:
        return arrays[f"map_{arrays['methods'].tolist().index(method)}"]


def rows_of(file: Path) -> dict[str, Any]:
    """What the manifest says of the file of a batch; the maps themselves are not read."""
    with np.load(file) as arrays:
        sizes = dict(zip(arrays["methods"].tolist(), arrays["map_sizes"].tolist(), strict=True))
        return {
            "file": file.name,
            "images": arrays["image"].tolist(),
            "classes": arrays["class_index"].tolist(),
            "fingerprints": arrays["fingerprint"].tolist(),
            "image_size": arrays["image_size"].tolist(),
            "map_sizes": sizes,
        }


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder, or None if there is none.

    Raises:
        CAMError: it is damaged or of another format.
    """
    file = folder / "manifest.json"
    if not file.exists():
        return None
    try:
        found = json.loads(file.read_bytes())
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise CAMError(
            f"{file} must be a manifest of format {FORMAT}, got a damaged file or one of another version; store the "
            "maps again with evaluate(…, save_maps=another folder)"
        )
    return found


def write_manifest(folder: Path, manifest: Mapping[str, Any], batches: Sequence[int] | None = None) -> None:
    """Write the manifest; the batches are listed when all of them are finished.

    Args:
        folder: an existing folder.
        manifest: the entries, without the format and the batches.
        batches: the numbers of the finished batches; None if more will follow.
    """
    listed = None if batches is None else [rows_of(file_of(folder, batch)) for batch in batches]
    head = json.dumps({"format": FORMAT, **manifest}, indent=1, default=_named).removesuffix("\n}")
    lines = "null" if listed is None else "[\n" + ",\n".join(map(json.dumps, listed)) + "\n]"
    new = folder / "manifest.new"
    new.write_text(f'{head},\n "batches": {lines}\n}}\n')
    os.replace(new, folder / "manifest.json")


def _array(maps: Tensor) -> np.ndarray:
    plain = maps.detach().cpu()
    return (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()


def _named(value: Any) -> str:
    """A hyperparameter that JSON does not hold: a function by its name, another object by its class."""
    if isinstance(value, partial):
        return ", ".join(map(_named, value.args))
    return getattr(value, "__qualname__", None) or type(value).__name__
