"""The settings of an evaluation: everything that its numbers depend on, as values that can be saved and compared."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

import captum_cams
from captum_cams import CAMAttribution
from captum_cams.engine.untouched import unwrap
from captum_cams.metrics.catalogue import METRICS
from captum_cams.metrics.protocols import Protocol
from lightning_callbacks.evaluation.code import package_of
from lightning_callbacks.evaluation.fingerprints import Description, digest
from lightning_callbacks.network import Network

FORMAT = 3
"""The format of the entries of a journal. A journal of another format belongs to another version and is not read."""


def settings_of(
    model: nn.Module,
    network: Network,
    explainers: Mapping[str, CAMAttribution],
    version: str | None,
    **given: Any,
) -> dict[str, Any]:
    """Describe the settings of an evaluation, without the images, which are compared when they are read.

    Args:
        model: the model as the user gave it.
        network: the network of the model.
        explainers: the explainers by name.
        version: the user's version of the code; see :class:`Description`.
        **given: all other settings, by name.
    """
    inner = unwrap(model)
    assert isinstance(inner, nn.Module)
    names = {module: name for name, module in inner.named_modules()} | {network: "images to scores"}
    description = Description(names, version)
    return {
        "methods": {name: description.of(one) for name, one in explainers.items()},
        "model": description.module(inner),
        **{name: description.of(value) for name, value in given.items()},
        "code version": version,
        "journal format": FORMAT,
        "captum_cams": captum_cams.__version__,
        "torch": torch.__version__,
    }


def registered(protocol: Protocol) -> dict[str, Any]:
    """The metrics of the user, whose code is part of the settings."""
    entries = {name: METRICS[name] for name in protocol.metrics}
    return {name: entry for name, entry in entries.items() if package_of(entry.function.__module__) != "captum_cams"}


def batch_settings(parts: list[list[int]], unread: Iterable[int]) -> dict[str, Any]:
    """Describe which images are evaluated.

    Args:
        parts: the indices of the images of each batch.
        unread: the indices of the images that could not be read when the images were chosen.
    """
    batches = {"count": len(parts), "indices": digest(parts)}
    return {"images": sum(map(len, parts)), "batches": batches, "unread": [*unread]}


def plain(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings as they come back from JSON, with 5 instead of 5.0."""
    return json.loads(json.dumps(settings), parse_float=_number)


def differences(before: Any, now: Any, path: str = "") -> list[str]:
    """The dotted names of the settings that differ; their order does not matter."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        same = type(before) is type(now) and before == now
        return [] if same else [path.removesuffix(".code").removesuffix(".name")]
    keys = [*before, *(key for key in now if key not in before)]
    inner = [differences(before.get(key, _MISSING), now.get(key, _MISSING), f"{path}.{key}".strip(".")) for key in keys]
    return [*dict.fromkeys(name for names in inner for name in names)]


def listed(names: list[str]) -> str:
    """The first names of a list, for a message."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


_MISSING = object()


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value
