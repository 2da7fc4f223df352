"""Run the whole model again, on copies of one sample or on changed versions of its first input."""

from typing import Any

import torch
from torch import Tensor

from captum_cams.engine.call import Call, fresh
from captum_cams.engine.scores import Score
from captum_cams.engine.targets import check_output
from captum_cams.errors import CAMError


class Rerun:
    """Runs of the whole model about one sample of a resolved call, whose other rows take no part."""

    def __init__(self, call: Call) -> None:
        self.call = call
        # Convolutions on a CPU are a fifth faster in this layout, on chunks of a few images.
        self._layout = torch.channels_last if call.inputs[0].device.type == "cpu" else torch.preserve_format

    def copies(self, sample: int, rows: int, whole: bool) -> Tensor:
        """The output for ``rows`` copies of a sample; ``whole`` if the network really reads its inputs."""
        args = [self._expand(value, sample, rows) for value in (*self.call.inputs, *self.call.extra)]
        # A write to several rows of an expanded tensor fails; a write to one row would change the original.
        if whole or rows == 1:
            args = [fresh(arg) for arg in args]
        try:
            with self.call.autocast():
                return check_output(self.call.scorer(*args), rows)
        except (RuntimeError, AssertionError) as error:
            self._check_rows(rows, error)
            raise

    def scores(self, images: Tensor, sample: int, score: Score = "logit") -> Tensor:
        """The target's score for R×C×H×W in the place of a sample's first input: R."""
        others = (*self.call.inputs[1:], *self.call.extra)
        args = [fresh(self._expand(value, sample, len(images))) for value in others]
        layout = self._layout if images.ndim == 4 else torch.preserve_format
        try:
            with self.call.autocast():
                output = self.call.scorer(images.clone(memory_format=layout), *args)  # the model may write to the copy
        except (RuntimeError, AssertionError) as error:
            if layout is not torch.channels_last:
                self._check_rows(len(images), error)
                raise
            self._layout = torch.contiguous_format  # the model calls view on a map
            return self.scores(images, sample, score)
        return self.call.score_of(check_output(output, len(images)), sample, score)

    def _check_rows(self, rows: int, error: Exception) -> None:
        """Raise a better error where it is the number of rows that the model cannot take."""
        batch = self.call.samples
        if rows == batch or "memory" in str(error):
            return
        self.call.output()  # raises what was raised, if it is something else
        raise CAMError(
            f"the model must take any number of rows, but it took {batch} and not {rows} "
            f"({str(error).splitlines()[0]}); trace or export it with a free batch axis, or pass "
            f"perturbations_per_eval={batch}"
        ) from error

    def _expand(self, value: Any, sample: int, rows: int) -> Any:
        return value[sample : sample + 1].expand(rows, *value.shape[1:]) if self.call.of_samples(value) else value
