"""Load a network by its name, with its weights and the transform for its images."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

from torch import nn
from torchvision import models

from captum_cams.errors import CAMError, lookup
from lightning_callbacks.command.hugging_face import from_hugging_face
from lightning_callbacks.command.loaded import Loaded, filled
from lightning_callbacks.command.timm_models import from_timm

_LIBRARIES: dict[str, Callable[[str, str | Path | None], Loaded]] = {"timm": from_timm, "hf": from_hugging_face}


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
        return Loaded(filled(_made(name), checkpoint).eval())
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


def _made(name: str) -> nn.Module:
    """The network that the user's function returns."""
    module, function = name.split(":", 1)
    sys.path.insert(0, "")  # an installed script does not search the working directory
    try:
        network = getattr(importlib.import_module(module), function)()
    except Exception as error:  # the user's code may raise anything
        raise CAMError(
            f'"{name}" must be importable and return a network, but it raised {type(error).__name__}: {error}; run the '
            "command in its folder, or set PYTHONPATH"
        ) from error
    finally:
        sys.path.remove("")
    if not isinstance(network, nn.Module):
        raise CAMError(
            f'the function "{name}" must return an nn.Module, got {type(network).__name__}; return the network'
        )
    return network
