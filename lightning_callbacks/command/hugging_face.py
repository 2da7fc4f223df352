"""Load an image classifier of Hugging Face, with the transform of its own configuration."""

from pathlib import Path
from typing import Any

from torchvision.transforms import InterpolationMode

from captum_cams.errors import CAMError
from captum_cams.extras import import_extra
from lightning_callbacks.command.loaded import Loaded, filled

_RESAMPLING = {
    0: InterpolationMode.NEAREST,
    1: InterpolationMode.LANCZOS,
    2: InterpolationMode.BILINEAR,
    3: InterpolationMode.BICUBIC,
}
"""Pillow's numbers, which the configurations hold."""


def from_hugging_face(name: str, checkpoint: str | Path | None) -> Loaded:
    """Load an image classifier by its name on the Hub, or from a folder that ``save_pretrained`` made.

    Raises:
        CAMError: transformers is not installed, the model or its image processor cannot be loaded, the model is no
            image classifier, or the preprocessing is more than resizing, cropping and normalising.
    """
    transformers = import_extra("transformers", "transformers", "hf:NAME")
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(name)
        network = _network(transformers.AutoModelForImageClassification, transformers.AutoConfig, name, checkpoint)
    except CAMError:
        raise
    except (OSError, ValueError, ImportError) as error:
        said = " ".join(str(error).split())[:200]
        raise CAMError(
            f"hf:{name} must be an image classifier with its image processor, but it cannot be loaded ({said}); check "
            "the name and the connection, or pass a folder to which both were saved with save_pretrained"
        ) from error
    config = processor.to_dict()
    size, shorter, squash = _sizes(config, name)
    normalised, names = config.get("do_normalize"), network.config.id2label
    loaded = Loaded(
        filled(network, checkpoint).eval(),
        size,
        shorter,
        squash,
        tuple(config["image_mean"]) if normalised else (0.0, 0.0, 0.0),
        tuple(config["image_std"]) if normalised else (1.0, 1.0, 1.0),
        tuple(names[index] for index in sorted(names)),
        _RESAMPLING[int(config["resample"])],
    )

    def prepared(picture: Any) -> Any:
        return processor(picture, return_tensors="pt")["pixel_values"][0]

    return loaded.check_transform(prepared, f"hf:{name}")


def _network(classifier: Any, config: Any, name: str, checkpoint: str | Path | None) -> Any:
    """The network, with the weights of Hugging Face unless there is a checkpoint."""
    if checkpoint is not None:
        return classifier.from_config(config.from_pretrained(name))
    network, report = classifier.from_pretrained(name, output_loading_info=True)
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise CAMError(
            f"hf:{name} must have the weights of an image classifier, but {missing} would be random; pass a model that "
            "was trained as a classifier, or --checkpoint FILE"
        )
    return network


def _sizes(config: dict[str, Any], name: str) -> tuple[int, int, bool]:
    """The input size, the size before the centre is cropped, and whether images are squashed to it."""
    size, crop = config.get("size") or {}, config.get("crop_size") or {}
    sides = {size.get("height"), size.get("width")}
    shorter, squash = size.get("shortest_edge"), False
    if len(sides) == 1 and None not in sides:
        (shorter,), squash = sides, True
    if not config.get("do_resize") or shorter is None:
        raise CAMError(
            f"the image processor of hf:{name} must resize images to one size, got size={dict(size)}; pass "
            "module:function that returns a network for images of one size"
        )
    if config.get("do_center_crop") and crop:
        return crop["height"], shorter, squash
    share = config.get("crop_pct")
    if share is None or shorter >= 384:  # ConvNeXt's processor crops smaller images only
        return shorter, shorter, squash or share is not None
    return shorter, int(shorter / share), squash
