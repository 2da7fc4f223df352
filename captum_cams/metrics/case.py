"""What a metric is given: a batch of explained pairs of image and class, and the conditions of the measurement."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, get_args

from torch import Tensor

from captum_cams.engine.scores import Task, check_task
from captum_cams.errors import check_choice
from captum_cams.metrics.annotation import Annotation
from captum_cams.metrics.functional.faithfulness import Masking
from captum_cams.metrics.presets import Preset

Need = Literal["labels", "regions", "probabilities", "curves"]
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How a map is measured, whatever the metric.

    Args:
        preset: steps and replacement of the deletion and the insertion curve.
        masking: what average drop and average increase show of an image, "multiply" or "fgcam".
        margin: pixels around a region that count as a hit in the pointing game.
        task: what the model's output means: "multiclass", "multilabel", "binary", "regression", or a function of the
            output that gives scores; see :data:`captum_cams.engine.scores.Task`.

    Raises:
        CAMError: an unknown masking or task.
    """

    preset: str | Preset = "rise"
    masking: Masking = "multiply"
    margin: float = 0.0
    task: Task = "multiclass"

    def __post_init__(self) -> None:
        check_choice("masking", self.masking, get_args(Masking))
        check_task(self.task)


@dataclass(frozen=True)
class Case:
    """A batch of explained pairs of image and class, P of them: the argument of every metric in the catalogue.

    Args:
        network: images → scores P×classes.
        images: P×C×H×W.
        classes: the explained class of each pair.
        maps: P×1×h×w.
        annotations: what is known of the image of each pair.
        explain: images and classes → maps, as an explainer's ``attribute``.
        conditions: of the measurement.
        perturbations_per_eval: changed images in one run of the network.
    """

    network: Callable[..., Any]
    images: Tensor
    classes: list[int]
    maps: Tensor
    annotations: Sequence[Annotation]
    explain: Callable[[Tensor, Any], Tensor]
    conditions: Conditions
    perturbations_per_eval: int = 8
    _answers: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def arguments(self) -> tuple[Callable[..., Any], Tensor, Tensor, list[int]]:
        """Network, images, maps and classes, as the functions of :mod:`captum_cams.metrics` take them."""
        return self.network, self.images, self.maps, self.classes

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.images.shape[-2], self.images.shape[-1]

    @property
    def regions(self) -> list[Tensor]:
        """Boxes or masks of the explained class of each pair; for metrics that declare that they need regions."""
        return [known.regions[index] for known, index in zip(self.annotations, self.classes, strict=True)]

    def shared(self, function: Callable[["Case"], _Answer]) -> _Answer:
        """What the function gives for this case, computed once for all the metrics that ask for it."""
        if function not in self._answers:
            self._answers[function] = function(self)
        return self._answers[function]

    def has(self, pair: int, needs: frozenset[Need]) -> bool:
        """Whether a pair has the annotation that a metric needs."""
        known = self.annotations[pair]
        return (known.labelled or "labels" not in needs) and (
            self.classes[pair] in known.regions or "regions" not in needs
        )

    def part(self, pairs: Sequence[int]) -> "Case":
        """The case of some of the pairs."""
        return replace(
            self,
            images=self.images[list(pairs)],
            classes=[self.classes[i] for i in pairs],
            maps=self.maps[list(pairs)],
            annotations=[self.annotations[i] for i in pairs],
        )
