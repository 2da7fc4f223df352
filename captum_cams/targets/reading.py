"""Check what targets are given, and find the tensor that they read in the model's output."""

from collections.abc import Mapping
from operator import index
from typing import Any

from torch import Tensor

from captum_cams.errors import CAMError, brief, shape_of

SCORES = ("logits", "out")
"""Where Hugging Face's models and torchvision's segmenters keep their scores."""
EMBEDDINGS = ("image_embeds", "image_features", "text_embeds", "pooler_output")
"""Where models of images and texts keep their embeddings."""

ONE_EACH = "if it differs between the images, pass a list with one target for each image"


def class_index(name: str, value: Any) -> int:
    """Return an index of 0 or more, or raise a CAMError that names the argument."""
    try:
        found = -1 if isinstance(value, bool) else index(value)
    except TypeError:
        found = -1
    if found < 0:
        raise CAMError(f"{name} must be an index, an integer of at least 0, got {brief(value)}; {ONE_EACH}")
    return found


def corners(box: Any) -> tuple[float, float, float, float]:
    """Return a box as four numbers, or raise a CAMError unless it is (x0, y0, x1, y1) with x0 < x1 and y0 < y1."""
    values = box.tolist() if hasattr(box, "tolist") else box
    if not isinstance(values, list | tuple) or len(values) != 4 or not all(isinstance(v, int | float) for v in values):
        raise CAMError(
            f"box must be four numbers (x0, y0, x1, y1) in pixels of the image, got {brief(box)}; {ONE_EACH}"
        )
    x0, y0, x1, y1 = map(float, values)
    if not (x0 < x1 and y0 < y1):
        raise CAMError(
            f"box must be (x0, y0, x1, y1) in pixels with x0 < x1 and y0 < y1, got {brief((x0, y0, x1, y1))}; a box "
            "of (x, y, width, height) is (x, y, x + width, y + height)"
        )
    return x0, y0, x1, y1


def tensor_in(output: Any, names: tuple[str, ...], form: str, ndim: int | tuple[int, ...]) -> Tensor:
    """Find the tensor that a target reads.

    Args:
        output: the model's output: a tensor, or a mapping or an object that has a tensor under one of the names.
        names: the names, the first that is there counts.
        form: the expected shape, for the message.
        ndim: the numbers of axes that the tensor may have.

    Raises:
        CAMError: there is no such tensor, or it has another number of axes.
    """
    found = output
    if not isinstance(output, Tensor):
        held = output if isinstance(output, Mapping) else {name: getattr(output, name, None) for name in names}
        found = next((held[name] for name in names if isinstance(held.get(name), Tensor)), None)
        if found is None:
            known = f" with the keys {', '.join(map(str, output))}" if isinstance(output, Mapping) else ""
            raise CAMError(
                f"the target reads a tensor {form}, also as the entry {' or '.join(names)} of an output, got "
                f"{type(output).__name__}{known}; pass a function that picks the tensor, such as "
                "lambda output: target(output[0])"
            )
    if found.ndim not in ((ndim,) if isinstance(ndim, int) else ndim):
        raise CAMError(f"the target reads a tensor {form}, got {shape_of(found)}; {_remedy(found)}")
    return found


def _remedy(found: Tensor) -> str:
    if found.ndim == 4:
        return "for a class at each pixel use Segmentation, for features of an image pool them first"
    if found.ndim == 3:
        return "for tokens N×T×D pass a function that takes the class token or the mean over the tokens"
    return "is the batch axis first, and is this the target for what the model gives?"


def check_class(label: int, scores: Tensor) -> None:
    """Raise a CAMError unless the scores N×C×… have the class."""
    if label >= scores.shape[1]:
        raise CAMError(
            f"label must be in 0…{scores.shape[1] - 1}, got {label} for an output {shape_of(scores)}; does the model "
            "have this class?"
        )
