"""The result of an explanation: explained images, or the reason why there are none."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Literal, TypeVar, get_args

from torch import Tensor

from captum_cams.metrics.annotation import Annotation

Kind = Literal["predicted", "true"]
"""Which class a map explains: the predicted class, or the first annotated class."""
KINDS: tuple[Kind, ...] = get_args(Kind)

_T = TypeVar("_T")


@dataclass(frozen=True)
class Explained:
    """One image with everything that the callback computed for it; all tensors are on the CPU.

    If a method failed for this image, it is missing in the mappings.

    Args:
        image: C×H×W, as the network gets it.
        annotation: the classes of its labels, and their boxes or masks.
        predicted: the class with the highest score; its maps are measured.
        probabilities: the probability of each class, 0 to 1; for a regression, the values of the output.
        maps: method → "predicted" or "true" → map of this class, 1×h×w at the size of the layer. "true" needs
            ``true_class=True`` and a label.
        values: method → metric → value, a scalar tensor; NaN if the metric is not defined. A metric that chooses a
            level over all images ("iou" and the localisation errors) has one value for each level.
        curves: method → deletion and insertion curve, 2×(steps + 1), if a metric needs them.
        drift: method → rank correlation with the map of the last explained epoch, −1 to 1, if there was one.

    Example::

        cams = lightning_callbacks.CAMCallback("gradcam")
        for image in cams.explained.get("validation", []):  # after trainer.fit(module)
            print(image.predicted, image.values["gradcam"]["insertion_auc"])
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
    """A failed explanation with its error; ``method`` is None if all methods failed."""

    error: Exception
    method: str | None = None


@dataclass(frozen=True)
class Outcome:
    """The results for some images.

    Args:
        rows: the explained images, in their order.
        failures: the failed explanations, of some methods or of all.
        doubts: sentences that say what may be wrong with the explanations.
    """

    rows: list[Explained] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def interleaved(parts: Sequence[Sequence[_T]], count: int) -> list[_T]:
    """Merge the shares of all processes into the order of the data set; process k of n has images k, k + n, …"""
    return [item for turn in zip_longest(*parts) for item in turn if item is not None][:count]
