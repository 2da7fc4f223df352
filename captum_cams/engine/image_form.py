"""Find out whether a model takes images N×C×H×W or N×H×W×C."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from captum_cams.engine.trace import running
from captum_cams.errors import CAMError, shape_of
from captum_cams.images import CHANNELS, ImageForm, look_channels_last

_known: WeakKeyDictionary[Any, dict[torch.Size, bool]] = WeakKeyDictionary()
"""For each model, whether the last axis of images C×H×W or H×W×C is that of the channels."""


def form_of(
    network: Callable[..., Any], modules: Iterable[nn.Module] | None, images: Tensor, run: Callable[[], Any]
) -> ImageForm:
    """Find the form in which a model takes images.

    Images with 1, 3 or 4 channels at the first place are N×C×H×W. For others the model runs once: its first
    convolution shows which axis holds the channels.

    Args:
        network: the model.
        modules: all modules of the model; None for a plain function.
        images: the images as the user passed them.
        run: runs the model on a copy of the images.

    Raises:
        CAMError: if images with 1, 3 or 4 values on the last axis meet a model without a convolution that decides.
    """
    if images.ndim != 4 or images.shape[1] in CHANNELS:
        return ImageForm.of(images)
    shapes: dict[torch.Size, bool] = {}
    with suppress(TypeError):  # objects without weak references are looked at in every call
        shapes = _known.setdefault(network, shapes)
    size = images.shape[1:]
    if size not in shapes:
        shapes[size] = _channels_are_last(images, _first_read(modules, run))
    return ImageForm.of(images, shapes[size])


def _first_read(modules: Iterable[nn.Module] | None, run: Callable[[], Any]) -> torch.Size | None:
    """The shape N×c×h×w that the first convolution of a run reads; None if there is none."""
    shapes: list[torch.Size] = []

    def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, nn.Conv2d) and args and isinstance(args[0], Tensor):
            shapes.append(args[0].shape)

    with running(modules, leave=leave):
        run()
    return shapes[0] if shapes else None


def _channels_are_last(images: Tensor, read: torch.Size | None) -> bool:
    """Decide by the channels that the first convolution reads, and by height and width if that fits both orders."""
    channels, place = (None, None) if read is None else (read[-3], read[-2:])
    first, last = channels == images.shape[1], channels == images.shape[3]
    if first and last:
        return place != images.shape[2:] and place == images.shape[1:3]
    if not first and not last and look_channels_last(images):
        raise CAMError(
            f"images must be N×C×H×W for this model, got {shape_of(images)}, and no convolution reads them as N×H×W×C; "
            "if the model takes them so, explain ImageInput(model, channels_last=True) and pass "
            "inputs.permute(0, 3, 1, 2)"
        )
    return last
