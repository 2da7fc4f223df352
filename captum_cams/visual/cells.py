"""One picture with its map and its marks."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from torch import Tensor

from captum_cams.errors import CAMError, shape_of
from captum_cams.regions import Cut, mask_from_map
from captum_cams.visual.drawing import Box, put_picture
from captum_cams.visual.marks import put_boxes, put_contours, put_outline, put_region
from captum_cams.visual.overlays import Region


@dataclass(frozen=True)
class Marks:
    """What is drawn over the maps.

    Args:
        contours: levels of the scaled map, between 0 and 1 (of signed maps also −1 to 0), along which lines are drawn.
        cut: outlines the pixels that :func:`captum_cams.mask_from_map` marks; None for no outline.
        level: as in :func:`captum_cams.mask_from_map`.
        region: as in :func:`overlay`; the part is framed by a dashed line.
    """

    contours: Sequence[float] = ()
    cut: Cut | None = None
    level: float = 0.5
    region: Region | None = None

    @property
    def words(self) -> list[str]:
        """What the lines mean, for the reader of the picture."""
        found = []
        if self.contours:
            found.append(f"lines: {', '.join(f'{level:g}' for level in sorted(self.contours))} of the scale")
        if self.cut == "energy":
            found.append(f"outline: the highest pixels with {self.level:.0%} of the sum")
        elif self.cut is not None:
            above = "Otsu's threshold" if self.cut == "otsu" else f"{self.level:g} of the scale"
            found.append(f"outline: above {above}")
        if self.region is not None:
            found.append("dashed: what the model saw")
        return found


@dataclass(frozen=True)
class Objects:
    """The annotated objects of one image.

    Args:
        boxes: B×4, (x0, y0, x1, y1) in pixels of the image; may be empty.
        masks: M×H×W, one for each object; may be empty.
    """

    boxes: Tensor
    masks: Tensor


def objects_of(boxes: Tensor | None, masks: Tensor | None, size: Sequence[int]) -> Objects:
    """Check the boxes and the masks of an image of H×W pixels.

    Raises:
        CAMError: the boxes are not B×4, or the masks are not M×H×W.
    """
    boxes = torch.zeros(0, 4) if boxes is None else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise CAMError(f"boxes must be B×4, (x0, y0, x1, y1) in pixels, got {shape_of(boxes)}")
    masks = torch.zeros(0, *size) if masks is None else masks
    masks = masks[None] if masks.ndim == 2 else masks
    if masks.ndim != 3 or masks.shape[1:] != torch.Size(size):
        raise CAMError(f"masks must be M×H×W with the size of the image, {size[0]}×{size[1]}, got {shape_of(masks)}")
    return Objects(boxes, masks)


def put_cell(
    axes: Axes, picture: Tensor, values: Tensor | None, box: Box, marks: Marks, objects: Objects | None = None
) -> None:
    """Draw a picture into a box, and over it the marks of its map and the annotated objects.

    Args:
        axes: where to draw.
        picture: 3×H×W in [0, 1], with the colours of the map.
        values: the scaled map H×W; None for an image without a map.
        box: the place of the picture in the axes.
        marks: what is drawn.
        objects: what is annotated, if it is drawn.
    """
    size = picture.shape[1:]
    put_picture(axes, picture, box)
    if values is not None:
        put_contours(axes, values, marks.contours, box)
        if marks.cut is not None:
            (mask,) = mask_from_map(values[None].clamp(min=0), threshold=marks.cut, level=marks.level)
            put_outline(axes, mask, box)
        if marks.region is not None:
            put_region(axes, marks.region, size, box)
    if objects is not None:
        put_boxes(axes, objects.boxes, size, box)
        for mask in objects.masks:
            put_outline(axes, mask, box)
