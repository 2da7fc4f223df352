"""What is known of an image: its classes, and where they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Annotation:
    """The classes annotated in one image, and where they are.

    Args:
        classes: each once, in the order of the annotation.
        regions: class → boxes B×4 or masks B×H×W, for the classes of which they are known.
        labelled: whether the image has labels; they may say that it has no class.
    """

    classes: tuple[int, ...] = ()
    regions: Mapping[int, Tensor] = field(default_factory=dict)
    labelled: bool = False
