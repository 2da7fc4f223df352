"""What an explanation gives: an explained image, or the reason why there is none."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Literal, TypeVar, get_args

from torch import Tensor

from captum_cams.metrics.annotation import Annotation

Kind = Literal["predicted", "true"]
"""Which class a map explains: the predicted one, or the first annotated one."""
KINDS: tuple[Kind, ...] = get_args(Kind)

_T = TypeVar("_T")


@dataclass(frozen=True)
class Explained:
    """One image with everything that the callback computed of it; all tensors are on the CPU.

    Args:
        image: C×H×W, as the network takes it.
        annotation: the classes of its labels, and their boxes or masks.
        predicted: the class with the highest score, whose maps are measured.
        probabilities: of each class; the values themselves where the task is a regression.
        maps: method → "predicted" or "true" → the map of that class, 1×h×w at the size of the layer. The true class is
            there with ``true_class=True``, where the image has a label.
        values: method → metric → its value, a tensor without dimensions, NaN where the metric is not defined. A metric
            that chooses its best level over all images ("iou" and the localisation errors) has one value a level.
        curves: method → deletion and insertion curve, 2×(steps + 1), if a metric needs them.
        drift: method → rank correlation, −1 to 1, with the map of the last explained epoch; no entry without one.

    A method that failed for this image is in none of the mappings.
    """

    image: Tensor
    annotation: Annotation
    predicted: int
    probabilities: Tensor
    maps: dict[str, dict[Kind, Tensor]] = field(default_factory=dict)
    values: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    curves: dict[str, Tensor] = field(default_factory=dict)
    drift: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """An explanation that could not be made, with its error; ``method`` is None where it concerns all methods."""

    error: Exception
    method: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of the images that were to be explained.

    Args:
        rows: the explained ones, in their order.
        failures: what could not be made, of some methods or of all.
        doubts: sentences about what may be wrong with the rows.
    """

    rows: list[Explained] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def interleaved(parts: Sequence[Sequence[_T]], count: int) -> list[_T]:
    """The images of all processes in the order of the data set, of which each process has every n-th."""
    return [one for turn in zip_longest(*parts) for one in turn if one is not None][:count]
