"""The score of one class."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from captum_cams.engine.targets import resolve_target
from captum_cams.targets.reading import SCORES, class_index, tensor_in
from captum_cams.targets.target import Target


@dataclass(frozen=True, eq=False, repr=False)
class Classification(Target):
    """Explains the score of one class, as the model returns it.

    It reads a tensor, or the entry ``logits`` or ``out`` of an output. The score is used as it is, for every ``task``;
    a method that would read a probability reads the score too. CAM, CLRP, SGLRP and Relevance-CAM set the class against
    all others and need its index itself: ``target=3``.

    Args:
        label: the index of the class, at least 0; for scores N×C×…, a tuple with one index for each axis after the
            first.

    Raises:
        CAMError: the label is not an index; in a call, if the output has no such class.

    Example::

        maps = cc.GradCAM(model, "layer4").attribute(images, cc.targets.Classification(3))
        each = [cc.targets.Classification(label) for label in labels]
        maps = cc.GradCAM(model, "layer4").attribute(images, each)
    """

    label: int | tuple[int, ...]

    def __post_init__(self) -> None:
        each = self.label if isinstance(self.label, tuple) else (self.label,)
        indices = tuple(class_index("label", entry) for entry in each)
        object.__setattr__(self, "label", indices if isinstance(self.label, tuple) else indices[0])

    def __call__(self, output: Any) -> Tensor:
        scores = tensor_in(output, SCORES, "N×C", (2, 3, 4, 5))
        key: tuple[slice | int, ...] = (slice(None), *resolve_target(self.label, scores)[0])
        return scores[key]
