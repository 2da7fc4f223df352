"""Read the detections of one class from the outputs of detectors."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor
from torchvision.ops import box_convert

from captum_cams.engine.targets import wide
from captum_cams.errors import CAMError, brief, shape_of

# Which function makes scores from logits is said by no tensor: it is the one of each model's own post-processing.
_SOFTMAX = ("DetrObjectDetectionOutput", "TableTransformerObjectDetectionOutput", "YolosObjectDetectionOutput")
_SIGMOID = ("ConditionalDetrObjectDetectionOutput", "DeformableDetrObjectDetectionOutput")
_KEYS = ("boxes", "labels", "scores")


class Detections(NamedTuple):
    """The detections of one class in one image."""

    boxes: Tensor
    """B×4: x0, y0, x1, y1 in pixels of the image."""
    scores: Tensor
    """B, 0 to 1."""
    all_labels: list[int]
    """Each label that is detected in the image, for messages; empty if every box has a score for each class."""


def detections(output: Any, label: int, size: tuple[int, int] | None) -> list[Detections]:
    """Read the detections of one class.

    Args:
        output: a list with ``boxes``, ``labels`` and ``scores`` for each image, as torchvision's detectors return it,
            or the output of DETR, conditional or deformable DETR, Table Transformer or YOLOS from Hugging Face.
        label: the class.
        size: height and width of the image, for boxes that are given relative to it.

    Returns:
        The detections of each image, with a graph. For Hugging Face's models these are all queries.

    Raises:
        CAMError: if the output is none of these, or has no such class.
    """
    if isinstance(output, list | tuple) and all(isinstance(one, Mapping) and {*_KEYS} <= {*one} for one in output):
        return [_of_label(one, label) for one in output]
    kind = type(output).__name__
    if kind not in (*_SOFTMAX, *_SIGMOID):
        raise CAMError(
            'Detection reads a list with "boxes", "labels" and "scores" for each image, or the output of DETR, '
            f"conditional or deformable DETR, Table Transformer or YOLOS, got {brief(output)}; wrap the model in a "
            "module that returns such a list, with boxes (x0, y0, x1, y1) in pixels"
        )
    if size is None:
        raise CAMError(
            "boxes relative to the image need its size before outputs are scored; call target.bound(model, image) "
            "first, as explainers do"
        )
    return _of_queries(wide(output.logits), wide(output.pred_boxes), label, size, kind in _SOFTMAX)


def _of_label(one: Mapping[str, Tensor], label: int) -> Detections:
    kept = one["labels"] == label
    return Detections(wide(one["boxes"])[kept], wide(one["scores"])[kept], one["labels"].unique().tolist())


def _of_queries(logits: Tensor, boxes: Tensor, label: int, size: tuple[int, int], softmax: bool) -> list[Detections]:
    classes = logits.shape[2] - softmax  # the last logit of a softmax stands for no object
    if label >= classes:
        raise CAMError(
            f"label must be in 0…{classes - 1}, got {label} for logits {shape_of(logits)}; does the model have this "
            "class?" + (" The last one stands for no object" if label == classes and softmax else "")
        )
    scores = (logits.softmax(2) if softmax else logits.sigmoid())[..., label]
    height, width = size
    pixels = box_convert(boxes, "cxcywh", "xyxy") * boxes.new_tensor([width, height, width, height])
    return [Detections(*pair, []) for pair in zip(pixels, scores, strict=True)]
