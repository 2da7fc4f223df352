"""One class against other classes."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from captum_cams.errors import CAMError, brief
from captum_cams.targets.reading import SCORES, check_class, class_index, tensor_in
from captum_cams.targets.target import Target


@dataclass(frozen=True, eq=False, repr=False)
class Contrast(Target):
    """Explains why the model predicts one class rather than others: the logarithm of the odds between them.

    The score is s_c − log Σ_j exp s_j, over the classes j that c is set against. With all others this is
    log(p_c / (1 − p_c)) of the softmax p, and with one other class s_c − s_j. Its gradient is that of s_c minus the
    mean of the others, each weighted by its share of their probability, which is the weighted contrast of Wang and
    Wang, "Why Not Other Classes?", NeurIPS 2022.

    Args:
        label: the index of the class.
        against: "others" for all other classes, or a list of their indices.

    Raises:
        CAMError: an index is not an integer of at least 0, the class is set against itself or nothing; in a call, if
            the output N×C does not have these classes.

    Example::

        maps = cc.GradCAM(model, "layer4").attribute(images, cc.targets.Contrast(3, against=[5, 7]))
    """

    label: int
    against: Literal["others"] | tuple[int, ...] | list[int] = "others"

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", class_index("label", self.label))
        if isinstance(self.against, str):
            if self.against != "others":
                raise CAMError(f'against must be "others" or a list of classes, got {brief(self.against)}')
            return
        given = self.against.tolist() if hasattr(self.against, "tolist") else self.against
        if not isinstance(given, list | tuple) or not given:
            raise CAMError(f'against must be "others" or a list of at least one class, got {brief(self.against)}')
        others = tuple(dict.fromkeys(class_index("each class of against", entry) for entry in given))
        if self.label in others:
            raise CAMError(f"against must not hold the class {self.label} itself, got {brief(given)}; leave it out")
        object.__setattr__(self, "against", others)

    def __call__(self, output: Any) -> Tensor:
        scores = tensor_in(output, SCORES, "N×C", 2)
        for entry in (self.label, *(() if self.against == "others" else self.against)):
            check_class(int(entry), scores)
        if scores.shape[1] < 2:
            raise CAMError("Contrast needs at least two classes, got an output N×1; use Regression for its value")
        others = [c for c in range(scores.shape[1]) if c != self.label] if self.against == "others" else self.against
        return scores[:, self.label] - torch.logsumexp(scores[:, list(others)], 1)
