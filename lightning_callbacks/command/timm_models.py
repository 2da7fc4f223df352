"""Load a model of timm, with the transform of its own configuration."""

from math import floor
from pathlib import Path
from typing import Any

from torchvision.transforms import InterpolationMode

from captum_cams.errors import CAMError, lookup
from captum_cams.extras import import_extra
from lightning_callbacks.command.loaded import Loaded, filled


def from_timm(name: str, checkpoint: str | Path | None) -> Loaded:
    """Load a model by its name in timm, such as ``vit_tiny_patch16_224`` or ``resnet18.a1_in1k``.

    Raises:
        CAMError: timm is not installed, the name is unknown, there are no weights or they cannot be downloaded, the
            checkpoint does not fit, or the preprocessing is more than resizing, cropping and normalising.
    """
    timm = import_extra("timm", "timm", "timm:NAME")
    known = dict.fromkeys([*timm.list_models(), *timm.list_pretrained()])
    lookup("timm model", name, known, "timm.list_models() lists all")
    try:
        network = timm.create_model(name, pretrained=checkpoint is None)
    except (OSError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise CAMError(
            f"the weights of timm:{name} cannot be loaded ({said}); check the connection, or pass --checkpoint FILE"
        ) from error
    config = timm.data.resolve_data_config({}, model=network)
    size = config["input_size"][-1]
    loaded = Loaded(
        filled(network, checkpoint).eval(),
        size,
        floor(size / config["crop_pct"]),
        config["crop_mode"] == "squash",
        tuple(config["mean"]),
        tuple(config["std"]),
        _class_names(timm, network),
        InterpolationMode(config["interpolation"]),
    )
    return loaded.check_transform(timm.data.create_transform(**config, is_training=False), f"timm:{name}")


def _class_names(timm: Any, network: Any) -> tuple[str, ...]:
    """The names of ImageNet's classes, if the network was trained on a part of ImageNet that timm knows."""
    subset = timm.data.infer_imagenet_subset(network)
    return tuple(timm.data.ImageNetInfo(subset).label_descriptions()) if subset else ()
