"""The input of a metric: explained pairs of image and class, and the conditions of the measurement."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, get_args

from torch import Tensor

from captum_cams.engine.scores import Task, check_task
from captum_cams.errors import check_choice
from captum_cams.images import size_of
from captum_cams.metrics.annotation import Annotation
from captum_cams.metrics.functional.scoring import Masking
from captum_cams.metrics.presets import Preset

Need = Literal["labels", "regions", "probabilities", "curves"]
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The conditions of a measurement that several metrics share.

    Args:
        preset: number of steps and replacement of the pixels for the deletion and insertion curves.
        masking: how average drop and average increase make the explained part of an image: "multiply" or "fgcam".
        margin: pixels around a region that count as a hit in the pointing game.
        task: meaning of the model's output: "multiclass", "multilabel", "binary", "regression", or a function from the
            output to scores; see :data:`captum_cams.engine.scores.Task`.

    Raises:
        CAMError: masking or task is unknown.

    Example::

        conditions = metrics.Conditions(preset="quick", margin=15)
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
    """P explained pairs of image and class: the argument of every metric in the catalogue.

    Args:
        network: function from images to scores P×classes.
        images: P×C×H×W, one image for each pair.
        classes: the explained class of each pair.
        maps: P×1×h×w.
        annotations: the annotation of the image of each pair.
        explain: function from images and classes to maps: the ``attribute`` method of an explainer.
        conditions: the conditions of the measurement.
        perturbations_per_eval: changed images in one forward pass.

    Example::

        cam = cc.GradCAM(model)
        maps = cam.attribute(images, labels)
        known = [metrics.Annotation()] * 2
        case = metrics.Case(model, images, [0, 1], maps, known, cam.attribute, metrics.Conditions(preset="quick"))
        print(metrics.METRICS["complexity"].function(case))
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
        """Network, images, maps and classes: the first four arguments of the faithfulness functions."""
        return self.network, self.images, self.maps, self.classes

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        height, width = size_of(self.images)
        return height, width

    @property
    def regions(self) -> list[Tensor]:
        """Boxes or masks of the explained class, for each pair; only metrics that need "regions" may ask for them."""
        return [known.regions[index] for known, index in zip(self.annotations, self.classes, strict=True)]

    def shared(self, function: Callable[["Case"], _Answer]) -> _Answer:
        """Compute a function of this case once, and remember the result for the other metrics that need it.

        Args:
            function: the function from a case to a result.

        Returns:
            The result of the function.
        """
        if function not in self._answers:
            self._answers[function] = function(self)
        return self._answers[function]

    def has(self, pair: int, needs: frozenset[Need]) -> bool:
        """Tell whether the image of a pair has the annotation that a metric needs.

        Args:
            pair: the number of the pair, from 0 on.
            needs: the needs that the metric declares.

        Returns:
            True if the metric can be computed for this pair.
        """
        known = self.annotations[pair]
        return (known.labelled or "labels" not in needs) and (
            self.classes[pair] in known.regions or "regions" not in needs
        )

    def part(self, pairs: Sequence[int]) -> "Case":
        """Make a case of some of the pairs.

        Args:
            pairs: the numbers of the pairs, from 0 on.

        Returns:
            A case with these pairs in this order.
        """
        return replace(
            self,
            images=self.images[list(pairs)],
            classes=[self.classes[i] for i in pairs],
            maps=self.maps[list(pairs)],
            annotations=[self.annotations[i] for i in pairs],
        )
