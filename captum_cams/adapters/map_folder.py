"""The folder of stored maps: a file of each batch, and a manifest that says what is in them."""

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from captum_cams.errors import CAMError, check_choice
from captum_cams.extras import import_extra

FORMAT = 1
"""The format of the files; files of another format are refused."""
MapFormat: TypeAlias = Literal["npz", "safetensors"]
"""How the maps of a batch are written: as a file of NumPy, or of the library safetensors."""


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


def file_of(folder: Path, batch: int, kind: MapFormat) -> Path:
    """The file of a batch."""
    return folder / f"batch-{batch:08}.{kind}"


def check_format(kind: MapFormat) -> None:
    """Raise an error unless files of this format can be written here.

    Raises:
        CAMError: the format is unknown, or its library is not installed.
    """
    check_choice("map_format", kind, get_args(MapFormat))
    if kind == "safetensors":
        _safetensors()


def write_batch(folder: Path, batch: int, maps: Maps, kind: MapFormat) -> None:
    """Write the complete file of a batch, or leave the old file as it was."""
    target = file_of(folder, batch, kind)
    new = target.with_suffix(f".{os.getpid()}.new")
    tensors = {f"map_{number}": one.detach().cpu().contiguous() for number, one in enumerate(maps.of.values())}
    sizes = {name: [*one.shape[2:]] for name, one in maps.of.items()}
    if kind == "safetensors":
        about = {"image": maps.images, "class_index": maps.classes, "fingerprint": maps.fingerprints}
        about |= {"image_size": maps.size, "map_sizes": sizes}
        words = {name: json.dumps(value) for name, value in about.items()}
        _safetensors().torch.save_file(tensors, new, words)
    else:
        arrays = {
            "methods": np.array([*sizes], dtype=str),
            "image": np.array(maps.images),
            "class_index": np.array(maps.classes),
            "fingerprint": np.array(maps.fingerprints),
            "image_size": np.array(maps.size),
            "map_sizes": np.array([*sizes.values()]),
            **{name: _array(one) for name, one in tensors.items()},
        }
        with open(new, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
    os.replace(new, target)


def read_maps(file: Path, method: str) -> Tensor:
    """Read the maps R×1×h×w of one method from the file of a batch."""
    if file.suffix == ".safetensors":
        with _safetensors().safe_open(file, "pt") as opened:
            methods = [*json.loads(opened.metadata()["map_sizes"])]
            return opened.get_tensor(f"map_{methods.index(method)}")
    with np.load(file) as arrays:
        return torch.from_numpy(arrays[f"map_{arrays['methods'].tolist().index(method)}"])


def rows_of(file: Path) -> dict[str, Any]:
    """What the manifest says of the file of a batch; the maps themselves are not read."""
    if file.suffix == ".safetensors":
        with _safetensors().safe_open(file, "pt") as opened:
            found = {name: json.loads(value) for name, value in opened.metadata().items()}
    else:
        with np.load(file) as arrays:
            names = ("image", "class_index", "fingerprint", "image_size", "methods", "map_sizes")
            found = {name: arrays[name].tolist() for name in names}
        found["map_sizes"] = dict(zip(found["methods"], found["map_sizes"], strict=True))
    return {
        "file": file.name,
        "images": found["image"],
        "classes": found["class_index"],
        "fingerprints": found["fingerprint"],
        "image_size": found["image_size"],
        "map_sizes": found["map_sizes"],
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


def write_manifest(folder: Path, manifest: Mapping[str, Any], files: Sequence[Path] | None = None) -> None:
    """Write the manifest; the files of the batches are listed when all of them are finished.

    Args:
        folder: an existing folder.
        manifest: the entries, without the format and the batches.
        files: the files of the finished batches; None if more will follow.
    """
    listed = None if files is None else [rows_of(file) for file in files]
    head = json.dumps({"format": FORMAT, **manifest}, indent=1, default=_named).removesuffix("\n}")
    lines = "null" if listed is None else "[\n" + ",\n".join(map(json.dumps, listed)) + "\n]"
    new = folder / "manifest.new"
    new.write_text(f'{head},\n "batches": {lines}\n}}\n')
    os.replace(new, folder / "manifest.json")


def _safetensors() -> Any:
    import_extra("safetensors.torch", "safetensors", "map_format='safetensors'")
    return import_extra("safetensors", "safetensors", "map_format='safetensors'")


def _array(maps: Tensor) -> np.ndarray:
    plain = maps.detach().cpu()
    return (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()


def _named(value: Any) -> str:
    """A hyperparameter that JSON does not hold: a function by its name, another object by its class."""
    if isinstance(value, partial):
        return ", ".join(map(_named, value.args))
    return getattr(value, "__qualname__", None) or type(value).__name__
