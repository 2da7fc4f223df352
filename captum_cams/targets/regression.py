"""One value of a regression."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from captum_cams.errors import CAMError, shape_of
from captum_cams.targets.reading import SCORES, class_index, tensor_in
from captum_cams.targets.target import Target


@dataclass(frozen=True, eq=False, repr=False)
class Regression(Target):
    """Explains one value that the model predicts.

    Args:
        output: the index of the value in outputs N×M; 0 for outputs N.

    Raises:
        CAMError: the index is not an integer of at least 0; in a call, if the output has no such value.

    Example::

        maps = cc.GradCAM(model, "layer4").attribute(images, cc.targets.Regression(output=2))
    """

    output: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "output", class_index("output", self.output))

    def __call__(self, output: Any) -> Tensor:
        values = tensor_in(output, SCORES, "N or N×M", (1, 2))
        columns = values[:, None] if values.ndim == 1 else values
        if self.output >= columns.shape[1]:
            raise CAMError(
                f"output must be in 0…{columns.shape[1] - 1}, got {self.output} for the output {shape_of(values)}; "
                "does the model predict so many values?"
            )
        return columns[:, self.output]
