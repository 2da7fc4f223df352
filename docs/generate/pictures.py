"""Explains the same four drawn scenes with every method, and draws the maps."""

import hashlib
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import captum_cams as cc
from captum_cams import benchmark, visual
from captum_cams.benchmark.networks import NetworkName
from captum_cams.benchmark.scenes import Factor, Scenes

FACTORS: tuple[Factor, ...] = ("textured", "several_classes", "partly_hidden", "colour_only")
_SEED = 1
# Fewer runs than by default, so that the site is built in a minute; and a task that SGLRP needs.
OPTIONS: dict[str, dict[str, Any]] = {
    "rise": {"masks": 500, "perturbations_per_eval": 100},
    "sess": {"scales": 3},
    "sscam": {"samples": 5, "perturbations_per_eval": 64},
    "cameras": {"resolutions": 4},
    "sglrp": {"task": "multiclass"},
}
_SIDE, _GAP = 128, 8  # pixels of one picture, and between two of them


class Shown(NamedTuple):
    """What the four scenes showed of one method.

    Args:
        network: the network that the method explains; empty if it explains none.
        reason: why it explains none.
        map: height and width of the map.
        every_class_alike: whether another class of the same image has the same map.
    """

    network: str
    reason: str = ""
    map: tuple[int, int] = (0, 0)
    every_class_alike: bool = False


def draw_all(names: list[str], folder: Path) -> dict[str, Shown]:
    """Draw the picture of every method; pictures that the same sources made in an earlier build stay.

    Args:
        names: names of the registry.
        folder: where the pictures are, with a record of the sources that made them.
    """
    record, sources = folder / "shown.json", _fingerprint()
    known = json.loads(record.read_text()) if record.is_file() else {}
    if known.get("sources") != sources:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shown = {name: draw(name, folder / f"{name}.png") for name in names}
        record.write_text(json.dumps({"sources": sources, "shown": shown}))
        return shown
    return {
        name: Shown(network, reason, (size[0], size[1]), alike)
        for name, (network, reason, size, alike) in known["shown"].items()
    }


def _fingerprint() -> str:
    """A number for everything that the pictures depend on."""
    files = [Path(__file__), *sorted(Path(cc.__file__).parent.rglob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def draw(name: str, file: Path) -> Shown:
    """Draw the scenes, the pixels that decide, and the maps of a method, below one another.

    Args:
        name: the name of the method in the registry.
        file: where the picture is written, as PNG. None is written if the method explains none of the networks.
    """
    reason, scenes = "", _scenes()
    for network in benchmark.NETWORKS:
        try:
            explainer = cc.create(name, _model(network), **{"task": "multilabel"} | OPTIONS.get(name, {}))
            maps = explainer.attribute(scenes.images, scenes.classes)
            other = explainer.attribute(scenes.images[1:2], _another_class(scenes, 1))
        except cc.CAMError as error:
            reason = reason or str(error)
            continue
        _save(scenes, maps, file)
        alike = torch.allclose(maps[1:2], other, rtol=1e-4, atol=1e-6 * float(maps.abs().max()))
        return Shown(network, "", (maps.shape[2], maps.shape[3]), alike)
    return Shown("", reason)


@cache
def _model(network: NetworkName) -> nn.Module:
    return benchmark.load_network(network)


@cache
def _scenes() -> Scenes:
    """One scene of each factor, the first that all networks decide rightly."""
    firsts = []
    for factor in FACTORS:
        scenes = benchmark.draw_scenes(factor, 40, _SEED)
        right = torch.stack([benchmark.decided(_model(one), scenes) for one in benchmark.NETWORKS]).all(0)
        firsts.append(scenes[right.nonzero()[:1, 0]])
    fields = Scenes.__dataclass_fields__
    return Scenes(*(torch.cat([getattr(one, field) for one in firsts]) for field in fields))


def asked() -> list[str]:
    """The class that is explained in each of the four scenes."""
    return [benchmark.CLASSES[index] for index in _scenes().classes]


def _another_class(scenes: Scenes, row: int) -> Tensor:
    """Another class that the scene has."""
    labels = scenes.labels[row].clone()
    labels[scenes.classes[row]] = False
    return labels.nonzero()[0]


def _save(scenes: Scenes, maps: Tensor, file: Path) -> None:
    images = F.interpolate(scenes.images, (_SIDE, _SIDE))
    deciding = F.interpolate(scenes.deciding[:, None].float(), (_SIDE, _SIDE))
    rows = (images, images * (0.15 + 0.85 * deciding), visual.overlay(images, maps))
    width = len(images) * (_SIDE + _GAP) - _GAP
    canvas = torch.zeros(4, len(rows) * (_SIDE + _GAP) - _GAP, width)  # the gaps are transparent
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            top, left = y * (_SIDE + _GAP), x * (_SIDE + _GAP)
            canvas[:3, top : top + _SIDE, left : left + _SIDE] = picture
            canvas[3, top : top + _SIDE, left : left + _SIDE] = 1
    pixels = (canvas * 255).round().byte().movedim(0, -1).contiguous().numpy()
    Image.fromarray(pixels).save(file, optimize=True)
