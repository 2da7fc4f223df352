"""Run the whole model again, on copies of one sample or on changed versions of its first input."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_cams.engine.precision import autocast_of_caller
from captum_cams.engine.scores import Score, Task, score_of
from captum_cams.engine.targets import Index, check_output
from captum_cams.errors import CAMError


class Rerun:
    """The model with everything but the batch fixed, the autocast of its caller included.

    Args:
        model: called with the inputs, then the additional arguments.
        inputs: N rows each.
        extra: additional arguments; tensors with N rows belong to the samples.
        target: the explained entry of each sample's output.
        task: how a probability is read from the output; None takes it as it is.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        inputs: tuple[Tensor, ...],
        extra: tuple[Any, ...],
        target: list[Index],
        task: Task | None = None,
    ) -> None:
        self.model, self._inputs, self._extra, self._target, self._task = model, inputs, extra, target, task
        self.autocast = autocast_of_caller(inputs[0].device)
        # Convolutions on a CPU are a fifth faster in this layout, on chunks of a few images.
        self._layout = torch.channels_last if inputs[0].device.type == "cpu" else torch.preserve_format

    def again(self) -> Any:
        """The output for the same inputs."""
        with self.autocast():
            return self.model(*(tensor.clone() for tensor in self._inputs), *self._extra)

    def copies(self, sample: int, rows: int, whole: bool) -> Tensor:
        """The output for ``rows`` copies of a sample; ``whole`` if the network really reads its inputs."""
        args = [self._expand(value, sample, rows) for value in (*self._inputs, *self._extra)]
        if whole:  # and may write to them
            args = [arg.clone() if isinstance(arg, Tensor) else arg for arg in args]
        try:
            with self.autocast():
                return check_output(self.model(*args), rows)
        except (RuntimeError, AssertionError) as error:
            self._check_rows(rows, error)
            raise

    def scores(self, images: Tensor, sample: int, score: Score = "logit") -> Tensor:
        """The target's score for R×C×H×W in the place of a sample's first input: R."""
        others = (*self._inputs[1:], *self._extra)
        args = [self._expand(value, sample, len(images)) for value in others]
        layout = self._layout if images.ndim == 4 else torch.preserve_format
        try:
            with self.autocast():
                output = self.model(images.clone(memory_format=layout), *args)  # a copy: the model may write to it
        except (RuntimeError, AssertionError) as error:
            if layout is not torch.channels_last:
                self._check_rows(len(images), error)
                raise
            self._layout = torch.contiguous_format  # the model calls view on a map
            return self.scores(images, sample, score)
        return self.score_of(check_output(output, len(images)), sample, score)

    def score_of(self, output: Tensor, sample: int, score: Score = "logit") -> Tensor:
        """The sample's target in every row of an output R×classes, as it is or as a "probability": R."""
        return score_of(output, self._target[sample], score, self._task)

    def _check_rows(self, rows: int, error: Exception) -> None:
        """Raise a better error where it is the number of rows that the model cannot take."""
        batch = len(self._inputs[0])
        if rows == batch or "memory" in str(error):
            return
        self.again()  # raises what was raised, if it is something else
        raise CAMError(
            f"the model must take any number of rows, but it took {batch} and not {rows} "
            f"({str(error).splitlines()[0]}); trace or export it with a free batch axis, or pass "
            f"perturbations_per_eval={batch}"
        ) from error

    def _expand(self, value: Any, sample: int, rows: int) -> Any:
        if isinstance(value, Tensor) and value.ndim and value.shape[0] == self._inputs[0].shape[0]:
            return value[sample : sample + 1].expand(rows, *value.shape[1:])
        return value
