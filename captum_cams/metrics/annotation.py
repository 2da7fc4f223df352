"""The annotation of an image: its classes and their regions."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Annotation:
    """The classes that are annotated in one image, and their regions.

    Args:
        classes: each class once, in the order of the annotation.
        regions: class → boxes B×4 or masks B×H×W (B×D×H×W for volumes), for the classes that have them.
        labelled: whether the image has labels at all; labels can also say that it shows no class.

    Example::

        cat = metrics.Annotation((281,), {281: torch.tensor([[8, 8, 40, 40]])}, labelled=True)
    """

    classes: tuple[int, ...] = ()
    regions: Mapping[int, Tensor] = field(default_factory=dict)
    labelled: bool = False
