"""Load a network by its name, with its weights and the transform for its images."""

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError

from torch import nn
from torchvision import models

from captum_cams.errors import CAMError, lookup
from lightning_callbacks.command.hugging_face import from_hugging_face
from lightning_callbacks.command.loaded import Loaded, filled
from lightning_callbacks.command.timm_models import from_timm

_LIBRARIES: dict[str, Callable[[str, str | Path | None], Loaded]] = {"timm": from_timm, "hf": from_hugging_face}

_SETTINGS = ("size", "shorter", "mean", "std", "class_names")
"""What a function of the user may say of its images, as in :class:`Loaded`."""


def load_model(name: str, checkpoint: str | Path | None = None) -> Loaded:
    """Load a network with its default weights or the weights of a checkpoint.

    Args:
        name: the name of a torchvision model, ``timm:NAME``, ``hf:NAME_OR_FOLDER``, or ``module:function``.
        checkpoint: a file with weights; None takes the default weights.

    Raises:
        CAMError: the name is unknown, its library is not installed, the weights cannot be downloaded, or the checkpoint
            does not fit.
    """
    library, colon, rest = name.partition(":")
    if library in _LIBRARIES and colon:
        return _LIBRARIES[library](rest, checkpoint)
    if colon:
        return _own(name, checkpoint)
    return _from_torchvision(name, checkpoint)


def _from_torchvision(name: str, checkpoint: str | Path | None) -> Loaded:
    remedy = "pass a torchvision name, timm:NAME, hf:NAME_OR_FOLDER, or module:function"
    lookup("model", name, dict.fromkeys(models.list_models()), remedy)
    weights = models.get_model_weights(name)["DEFAULT"]
    try:
        network = models.get_model(name, weights=None if checkpoint else weights)
    except (URLError, OSError) as error:
        raise CAMError(f"the weights of {name} cannot be downloaded ({error}); pass --checkpoint FILE") from error
    preset = weights.transforms()
    if not hasattr(preset, "crop_size"):
        raise CAMError(f'the model must classify images, but "{name}" does not; pass a classifier, or module:function')
    return Loaded(
        filled(network, checkpoint).eval(),
        preset.crop_size[0],
        preset.resize_size[0],
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        class_names=tuple(weights.meta["categories"]),
        interpolation=preset.interpolation,
    )


def _own(name: str, checkpoint: str | Path | None) -> Loaded:
    """A network of the user, with what its function says of the images and the classes."""
    network, about = _made(name)
    for key in about:
        lookup("setting of the images", key, dict.fromkeys(_SETTINGS), f'"{name}" may return these beside the network')
    given = {"shorter": about["size"], **about} if "size" in about else dict(about)
    loaded = Loaded(filled(network, checkpoint).eval(), **given)
    if {"size", "mean", "std"} & about.keys():
        return loaded
    note = (
        f"{name}: images are resized to {loaded.shorter} pixels, cropped to {loaded.size} and normalised as those of "
        'ImageNet; let the function return (network, {"size": …, "mean": …, "std": …, "class_names": …}) for others'
    )
    return replace(loaded, note=note)


def _made(name: str) -> tuple[nn.Module, Mapping[str, Any]]:
    """The network that the user's function returns, and what it says of the images; nothing if it says nothing."""
    module, function = name.split(":", 1)
    sys.path.insert(0, "")  # an installed script does not search the working directory
    try:
        made = getattr(importlib.import_module(module), function)()
    except Exception as error:  # the user's code may raise anything
        raise CAMError(
            f'"{name}" must be importable and return a network, but it raised {type(error).__name__}: {error}; run the '
            "command in its folder, or set PYTHONPATH"
        ) from error
    finally:
        sys.path.remove("")
    network, about = made if isinstance(made, tuple) and len(made) == 2 else (made, {})
    if not isinstance(network, nn.Module) or not isinstance(about, Mapping):
        raise CAMError(
            f'the function "{name}" must return an nn.Module, or an nn.Module and a dict, got {type(made).__name__}; '
            "return the network"
        )
    return network, about
