"""Load a network by its name, with its weights and the transform for its images."""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present
from torchvision import models
from torchvision.transforms import InterpolationMode, v2

from captum_cams.errors import CAMError, lookup
from lightning_callbacks.command.checkpoints import read_state

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Loaded:
    """A network in evaluation mode, with the numbers that its transform needs.

    Args:
        network: a module that maps images to scores.
        size: height and width of its input, in pixels.
        shorter: length of the shorter side before the centre is cropped, in pixels.
        mean: mean of the normalisation, for each channel.
        std: standard deviation of the normalisation, for each channel.
        class_names: names of the classes; may be empty.
        interpolation: how images are resized.
    """

    network: nn.Module
    size: int = 224
    shorter: int = 256
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    class_names: tuple[str, ...] = ()
    interpolation: InterpolationMode = InterpolationMode.BILINEAR

    def transform(self, whole: bool) -> Callable[..., Any]:
        """The transform for images: resize the whole image, or resize its shorter side and crop the centre."""
        kind = self.interpolation
        squeezed, shorter = v2.Resize((self.size, self.size), kind), v2.Resize(self.shorter, kind)
        resize = [squeezed] if whole else [shorter, v2.CenterCrop(self.size)]
        return v2.Compose(
            [*resize, v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(self.mean, self.std)]
        )


def load_model(name: str, checkpoint: str | Path | None = None) -> Loaded:
    """Load a torchvision model, or call ``module:function``; the weights are the default weights or a checkpoint.

    Raises:
        CAMError: the name is unknown, the weights cannot be downloaded, or the checkpoint does not fit.
    """
    if ":" in name:
        return Loaded(_fill(_made(name), checkpoint).eval())
    lookup("model", name, dict.fromkeys(models.list_models()), "pass a torchvision name, or module:function")
    weights = models.get_model_weights(name)["DEFAULT"]
    try:
        network = models.get_model(name, weights=None if checkpoint else weights)
    except (URLError, OSError) as error:
        raise CAMError(f"the weights of {name} cannot be downloaded ({error}); pass --checkpoint FILE") from error
    preset = weights.transforms()
    if not hasattr(preset, "crop_size"):
        raise CAMError(f'the model must classify images, but "{name}" does not; pass a classifier, or module:function')
    return Loaded(
        _fill(network, checkpoint).eval(),
        preset.crop_size[0],
        preset.resize_size[0],
        tuple(preset.mean),
        tuple(preset.std),
        tuple(weights.meta["categories"]),
        preset.interpolation,
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


def _fill(network: nn.Module, checkpoint: str | Path | None) -> nn.Module:
    """The network with the weights of the checkpoint, if there is one."""
    if checkpoint is None:
        return network
    state = read_state(checkpoint)
    own = network.state_dict()
    for prefix in ("model.", "network.", "net.", "module."):
        if not state.keys() & own.keys() and all(key.startswith(prefix) for key in state):
            consume_prefix_in_state_dict_if_present(state, prefix)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:200]
        raise CAMError(
            f"the checkpoint {checkpoint} must have the weights of the model, but it does not fit: {first}"
        ) from error
    return network
