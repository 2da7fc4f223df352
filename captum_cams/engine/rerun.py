"""Run the whole model again, on copies of one sample or on changed versions of its image."""

from typing import Any

import torch
from torch import Tensor

from captum_cams.engine.call import Call, fresh
from captum_cams.engine.scores import Score
from captum_cams.engine.targets import check_output
from captum_cams.errors import CAMError


class Rerun:
    """Runs the whole model for one sample of the batch.

    Args:
        call: a resolved call.
    """

    def __init__(self, call: Call) -> None:
        self.call = call
        # For chunks of a few images, convolutions on a CPU are 20 % faster in this memory format.
        self._layout = torch.channels_last if call.inputs[0].device.type == "cpu" else torch.preserve_format

    def copies(self, sample: int, rows: int, whole: bool) -> Tensor:
        """Run the model on copies of one sample.

        Args:
            sample: the index of the sample.
            rows: the number of copies.
            whole: whether the network reads its inputs. If not, most inputs need no copy, which saves memory.

        Returns:
            The model's output, with one row per copy.

        Raises:
            CAMError: if the model does not accept this number of rows.
        """
        # A write to several rows of an expanded tensor fails; a write to one row would change the original.
        copied = whole or rows == 1

        def given(value: Any) -> Any:
            value = self._expand(value, sample, rows)
            return fresh(value) if copied else value

        try:
            output = self.call.run(tuple(map(given, self.call.inputs)), self.call.extra.each(given))
            return check_output(output, rows)
        except (RuntimeError, AssertionError) as error:
            self._check_rows(rows, error)
            raise

    def scores(self, images: Tensor, sample: int, score: Score = "logit") -> Tensor:
        """Compute the score of a sample's target for changed images.

        Args:
            images: R×C×H×W, used instead of the first input.
            sample: the index of the sample whose other inputs, further arguments and target are used.
            score: "logit" or "probability".

        Returns:
            R scores.

        Raises:
            CAMError: if the model does not accept this number of images.
        """

        def given(value: Any) -> Any:
            return fresh(self._expand(value, sample, len(images)))

        layout = self._layout if images.ndim == 4 else torch.preserve_format
        try:
            inputs = (images.clone(memory_format=layout), *map(given, self.call.inputs[1:]))
            output = self.call.run(inputs, self.call.extra.each(given))
        except (RuntimeError, AssertionError) as error:
            if layout is not torch.channels_last:
                self._check_rows(len(images), error)
                raise
            self._layout = torch.contiguous_format  # the model calls view() on an activation
            return self.scores(images, sample, score)
        return self.call.score_of(check_output(output, len(images)), sample, score)

    def _check_rows(self, rows: int, error: Exception) -> None:
        """Raise a CAMError if the model fails only because of the number of rows."""
        batch = self.call.samples
        if rows == batch or "memory" in str(error):
            return
        self.call.output()  # raises the same error if the number of rows is not the cause
        raise CAMError(
            f"the model must accept any number of rows, but it accepted {batch} and not {rows} "
            f"({str(error).splitlines()[0]}); trace or export it with a free batch axis, or pass "
            f"perturbations_per_eval={batch}"
        ) from error

    def _expand(self, value: Any, sample: int, rows: int) -> Any:
        return value[sample : sample + 1].expand(rows, *value.shape[1:]) if self.call.of_samples(value) else value
