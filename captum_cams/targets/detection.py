"""The score of a detected object."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchvision.ops import box_iou

from captum_cams.engine.functions import SampleTarget
from captum_cams.errors import CAMError, brief, shape_of
from captum_cams.targets.detections import Detections, detections
from captum_cams.targets.reading import class_index, corners
from captum_cams.targets.target import Target

_SAME = 0.99
"""The overlap from which on the user's box is the box of a detection, but for rounding."""


@dataclass(frozen=True, eq=False, repr=False)
class Detection(Target, SampleTarget):
    """Explains the detection of an object: the score of the detection of its class at its box.

    The score is max_j IoU(box, box_j) · score_j over the detections of the class that overlap the box by at least
    ``iou``, and 0 if there is none. It is the similarity of D-RISE (Petsiuk et al., "Black-box Explanation of Object
    Detectors via Saliency Maps", CVPR 2021, eq. 3) for a detection that is known by its box and its class. The order of
    the detections does not matter, and a box may move or be suppressed by another one of the class. The overlap counts
    as a constant, so the gradient is that of score_j: it explains the class of the object and not its outline.

    It reads torchvision's detectors, a list with ``boxes``, ``labels`` and ``scores`` for each image, and ``logits``
    and ``pred_boxes`` of DETR, conditional and deformable DETR, Table Transformer and YOLOS in Hugging Face, for images
    without padding. There, every query is a detection, and its score is the probability of the class. Methods that move
    or resize the image are refused: Augmented CAM, Jitter-CAM, SESS and CAMERAS.

    Args:
        box: the box of the object, (x0, y0, x1, y1) in pixels of the image that the model gets, also for models whose
            own boxes are relative.
        label: the class of the object, as the detector numbers it.
        iou: the smallest overlap of a detection with the box, intersection over union, above 0 and at most 1.
        size: height and width of the image, only needed for relative boxes; explainers fill it in.

    Raises:
        CAMError: the box, the label or the overlap are not of this form; in a call, if no detection of the class
            overlaps the box in the unchanged image, or another detection would be explained than the one that has
            exactly this box.

    Example::

        class Detector(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.features, self.head = torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.Linear(8, 1)

            def forward(self, images):
                scores = self.head(self.features(images).mean((2, 3))).sigmoid()
                box, label = torch.tensor([[8.0, 8.0, 40.0, 40.0]]), torch.tensor([1])
                return [{"boxes": box, "labels": label, "scores": score} for score in scores]

        target = cc.targets.Detection(box=(8, 10, 40, 42), label=1)
        maps = cc.GradCAM(Detector(), "features").attribute(images, target)
    """

    names_places: ClassVar[bool] = True

    box: tuple[float, float, float, float]
    label: int
    iou: float = 0.5
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "box", corners(self.box))
        object.__setattr__(self, "label", class_index("label", self.label))
        if not isinstance(self.iou, int | float) or not 0 < self.iou <= 1:
            raise CAMError(f"iou must be above 0 and at most 1, got {brief(self.iou)}; D-RISE and COCO begin with 0.5")

    def bound(self, network: Callable[[Tensor], Any], image: Tensor) -> "Detection":
        """Check that the object is detected in the unchanged image, and return the target with the image's size."""
        if image.ndim != 4:
            raise CAMError(f"Detection needs images N×C×H×W, got {shape_of(image)}")
        target = replace(self, size=(image.shape[2], image.shape[3]))
        for found in detections(network(image), self.label, target.size):
            target._check(found)
        return target

    def __call__(self, output: Any) -> Tensor:
        return torch.stack([self._score(found) for found in detections(output, self.label, self.size)])

    def _score(self, found: Detections) -> Tensor:
        if not len(found.scores):
            return found.scores.sum()  # zero, with a graph
        overlaps = self._overlaps(found)
        return (torch.where(overlaps >= self.iou, overlaps, 0) * found.scores).max()

    def _overlaps(self, found: Detections) -> Tensor:
        boxes = found.boxes.detach()
        return box_iou(boxes.new_tensor([self.box]), boxes)[0]

    def _check(self, found: Detections) -> None:
        """Raise a CAMError unless one detection is meant and it is the one that will be explained."""
        if not len(found.scores):
            seen = f"labels {', '.join(map(str, found.all_labels))}" if found.all_labels else "no detection at all"
            raise CAMError(
                f"an object of label {self.label} must be detected in the unchanged image, got {seen}; explain one of "
                "the detections that the model returns, or lower the score threshold of the model"
            )
        overlaps, scores = self._overlaps(found), found.scores.detach()
        nearest, largest = int(overlaps.argmax()), float(overlaps.max())
        if largest < self.iou:
            box = tuple(round(value, 1) for value in found.boxes[nearest].tolist())
            raise CAMError(
                f"a detection of label {self.label} must overlap the box {self.box} by at least {self.iou} in the "
                f"unchanged image, got at most {largest:.2f} for {box}; the corners are (x0, y0, x1, y1) in pixels of "
                "the image that the model gets"
            )
        explained = int((torch.where(overlaps >= self.iou, overlaps, 0) * scores).argmax())
        if largest >= _SAME and overlaps[explained] < _SAME:
            raise CAMError(
                f"the detection at the box {self.box} must be the one that is explained, got a score of "
                f"{scores[nearest]:.2g} for it and {scores[explained]:.2g} for another one that overlaps it by "
                f"{overlaps[explained]:.2f}; pass an iou above that"
            )
