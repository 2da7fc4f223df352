"""The score of a class over the pixels of an object."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from captum_cams.engine.functions import SampleTarget
from captum_cams.engine.targets import wide
from captum_cams.errors import CAMError, brief, shape_of
from captum_cams.targets.reading import ONE_EACH, SCORES, check_class, class_index, corners, tensor_in
from captum_cams.targets.target import Target

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation(Target, SampleTarget):
    """Explains why a segmenter sees a class in a set of pixels: the mean of the class's scores over these pixels.

    Vinogradova et al., "Towards Interpretable Semantic Segmentation via Gradient-weighted Class Activation Mapping",
    AAAI 2020, sums the scores over the set. The mean differs from the sum by a constant, because the set of an image
    stays the same while a method changes the image: it is not predicted again. Scores that are smaller than the image,
    such as those of SegFormer, are resized to it with bilinear interpolation.

    The scores N×C×h×w are the output, or its entry ``out`` (torchvision) or ``logits`` (Hugging Face). Methods that
    move or resize the image are refused: Augmented CAM, Jitter-CAM, SESS and CAMERAS.

    Args:
        label: the index of the class.
        mask: "predicted" for the pixels whose highest score in the unchanged image is the class (with a single channel
            of scores: those whose score is positive), a mask H×W of zeros and ones at the size of the image, or a box
            (x0, y0, x1, y1) in pixels.

    Raises:
        CAMError: the label is not an index, the mask has another form; in a call, if the mask does not fit the image,
            no pixel is predicted as the class, or the output has no such class.

    Example::

        segmenter = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(8, 2, 1))
        sky = cc.targets.Segmentation(1, mask=(0, 0, 64, 20))
        maps = cc.GradCAM(segmenter, "1").attribute(images, sky)
    """

    names_places: ClassVar[bool] = True

    label: int
    mask: Literal["predicted"] | Box | Tensor = "predicted"

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", class_index("label", self.label))
        if isinstance(self.mask, str):
            if self.mask != "predicted":
                raise CAMError(f'mask must be "predicted", a mask H×W or a box, got {brief(self.mask)}')
        elif getattr(self.mask, "ndim", 1) == 1:
            object.__setattr__(self, "mask", corners(self.mask))
        else:
            object.__setattr__(self, "mask", _checked(self.mask))

    def bound(self, network: Callable[[Tensor], Any], image: Tensor) -> "Segmentation":
        """Find the pixels in the unchanged image, and return the target with them as its mask."""
        if image.ndim != 4:
            raise CAMError(f"Segmentation needs images N×C×H×W, got {shape_of(image)}")
        size = image.shape[2:]
        if isinstance(self.mask, Tensor):
            if self.mask.shape != size:
                raise CAMError(
                    f"mask must have the size of the image, expected {shape_of(image[0, 0])}, got "
                    f"{shape_of(self.mask)}; resize it with mode='nearest'"
                )
            return self
        mask = self._predicted(network(image), size) if self.mask == "predicted" else _inside(self.mask, size)
        return replace(self, mask=mask)

    def _predicted(self, output: Any, size: torch.Size) -> Tensor:
        scores = self._scores(output)
        enlarged = _resized(scores, size)[0]
        predicted = enlarged.argmax(0) if len(enlarged) > 1 else torch.where(enlarged[0] > 0, 0, -1)
        mask = predicted == self.label
        if not mask.any():
            classes = ", ".join(map(str, predicted.unique().tolist()[:8]))
            found = f"got the classes {classes}" if len(enlarged) > 1 else "got no positive score"
            raise CAMError(
                f"a pixel of the image must be predicted as class {self.label}, {found}; explain one of these, or pass "
                "a mask or a box"
            )
        return mask

    def _scores(self, output: Any) -> Tensor:
        scores = tensor_in(output, SCORES, "N×C×h×w", 4)
        check_class(self.label, scores)
        return wide(scores)

    def __call__(self, output: Any) -> Tensor:
        if not isinstance(self.mask, Tensor):
            raise CAMError(
                f"the pixels must be fixed before outputs are scored, got mask={self.mask!r}; call target.bound(model, "
                "image) first, as explainers do"
            )
        scores = self._scores(output)[:, self.label, None]
        mask = self.mask.to(scores)
        return (_resized(scores, mask.shape)[:, 0] * mask).sum((1, 2)) / mask.sum()


def _resized(scores: Tensor, size: torch.Size) -> Tensor:
    return scores if scores.shape[2:] == size else F.interpolate(scores, size, mode="bilinear", align_corners=False)


def _checked(mask: Any) -> Tensor:
    """A mask H×W of booleans, from zeros and ones; or a CAMError."""
    given = torch.as_tensor(mask)
    if given.ndim != 2:
        raise CAMError(f"mask must be H×W, got {shape_of(given)}; {ONE_EACH}")
    if not ((given == 0) | (given == 1)).all() or not given.any():
        got = "zeros alone" if not given.any() else f"values up to {given.max().item()}"
        raise CAMError(f"mask must hold zeros and ones, with at least one pixel of ones, got {got}; pass mask > 0.5")
    return given.detach().bool().clone()


def _inside(box: Any, size: torch.Size) -> Tensor:
    """The mask of the pixels whose centres are in the box."""
    x0, y0, x1, y1 = box
    rows, columns = (torch.arange(side) + 0.5 for side in size)
    mask = ((y0 <= rows) & (rows < y1))[:, None] & ((x0 <= columns) & (columns < x1))
    if not mask.any():
        raise CAMError(
            f"the box must hold the centre of a pixel of the image {size[0]}×{size[1]} (H×W), got {box}; the corners "
            "are (x0, y0, x1, y1) in pixels"
        )
    return mask
