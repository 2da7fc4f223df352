"""A network of the command line, with the transform for its images."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present
from torchvision.transforms import InterpolationMode, v2

from captum_cams.errors import CAMError
from lightning_callbacks.command.checkpoints import read_state

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Loaded:
    """A network in evaluation mode, with the numbers that its transform needs.

    Args:
        network: a module that maps images to scores.
        size: height and width of its input, in pixels.
        shorter: length of the shorter side before the centre is cropped, in pixels.
        squash: whether both sides get this length, so that images change their proportions.
        mean: mean of the normalisation, for each channel.
        std: standard deviation of the normalisation, for each channel.
        class_names: names of the classes; may be empty.
        interpolation: how images are resized.
        note: what a user should know of the transform; may be empty.
    """

    network: nn.Module
    size: int = 224
    shorter: int = 256
    squash: bool = False
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    class_names: tuple[str, ...] = ()
    interpolation: InterpolationMode = InterpolationMode.BILINEAR
    note: str = ""

    def transform(self, whole: bool) -> Callable[..., Any]:
        """The transform for images: resize the whole image, or resize its shorter side and crop the centre."""
        kind = self.interpolation
        sides = (self.shorter, self.shorter) if self.squash else self.shorter
        squeezed, first = v2.Resize((self.size, self.size), kind), v2.Resize(sides, kind)
        resize = [squeezed] if whole else [first, v2.CenterCrop(self.size)]
        return v2.Compose(
            [*resize, v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(self.mean, self.std)]
        )

    def check_transform(self, expected: Callable[[Image.Image], Tensor], whose: str) -> "Loaded":
        """Compare the transform with that of another library on a picture; return the record itself.

        Raises:
            CAMError: the results differ by more than the rounding of a resized picture.
        """
        # Smooth, because libraries round the corner of a crop in two ways.
        ramp = Image.radial_gradient("L").resize((317, 263)).crop((0, 0, 290, 251))
        picture = Image.merge("RGB", (ramp, ramp.rotate(90), ramp.rotate(180)))
        found, wanted = self.transform(whole=False)(picture), expected(picture)
        step = 1 / min(self.std) / 255  # one of the 255 levels of a channel
        if found.shape != wanted.shape or float((found - wanted).abs().max()) > 6 * step:
            raise CAMError(
                f"the preprocessing of {whose} must be resizing, cropping a square and normalising, but it does more; "
                "pass module:function that returns a network which does the rest itself"
            )
        return self


def filled(network: nn.Module, checkpoint: str | Path | None) -> nn.Module:
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
