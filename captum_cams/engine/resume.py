"""Run only the tail of the model, the part after the layer: the modules before it return their recorded outputs.

In later runs the modules before the layer return the outputs that :mod:`captum_cams.engine.head` recorded, and the
layer returns the given activations. So every eager model works without tracing, also with skip connections.

Every shortcut is checked. The first row of the activations of each sample is the layer's own activation, whose output
is known. If the output differs (because of in-place functions on recorded outputs, or state outside of modules), the
sample runs in full. Differences of scores are taken from this same row, so both come from the same computation.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_cams.engine.codes import separating_masks
from captum_cams.engine.head import FirstLinear
from captum_cams.engine.replay import PinnedTail, Tail, TailModule
from captum_cams.engine.same_output import bound, check_read, same
from captum_cams.engine.scores import Score
from captum_cams.engine.targets import wide
from captum_cams.engine.unique import unique_rows
from captum_cams.errors import CAMError

log = logging.getLogger("captum_cams")


@dataclass(frozen=True)
class Pace:
    """How many changed activations run at once.

    Args:
        chunk: the number of activations in one run.
        show_progress: whether to show a progress bar over the chunks.
    """

    chunk: int = 2
    show_progress: bool = False


class Resume:
    """Runs the tail of the model, the part after the layer, on changed activations or masks.

    Args:
        tail: runs the tail.
        first_linear: the first linear layer of the tail, if there is one.
        activation: the layer's own activation, N×K×h×w.
        output: the model's output in the first run.
        pace: how many activations run at once.
    """

    def __init__(
        self,
        tail: Tail,
        first_linear: FirstLinear | None,
        activation: Tensor,
        output: Tensor,
        pace: Pace,
    ) -> None:
        self._tail, self._call, self._activation, self._output = tail, tail.rerun.call, activation, output
        self._linear = first_linear if first_linear and first_linear.may_add_up(activation) else None
        self._half = any(tensor.dtype in (torch.float16, torch.bfloat16) for tensor in (activation, output))
        self._chunk, self._show_progress = pace.chunk, pace.show_progress

    def __call__(self, activations: Tensor, sample: int) -> Tensor:
        """Run the tail on other activations of one sample.

        Args:
            activations: R×K×h×w, used instead of the layer's own activation.
            sample: the index of the sample.

        Returns:
            The model's output, with R rows.

        Raises:
            CAMError: if the model gives the sample another output in a second run.
        """
        known = self._activation[sample : sample + 1]
        rows = torch.cat((known, activations.to(known.dtype)))
        return self._outputs(rows, Tensor.clone, sample, self._tail)[0][1:]

    def masked(self, masks: Tensor, score: Score = "logit") -> Tensor:
        """Compute each sample's score with the layer's activation multiplied by each mask.

        Args:
            masks: R×1×h×w, the same for all samples.
            score: "logit" or "probability".

        Returns:
            The scores, N×R.

        Raises:
            CAMError: as in :meth:`__call__`.
        """
        scores, tail = [], self._tail
        rows = torch.cat((torch.ones_like(masks[:1]), masks)).to(self._activation.dtype)
        for sample, activation in enumerate(self._activation):
            outputs, tail = self._outputs(rows, activation.mul, sample, tail)
            check_read(self._tail, self._activation[sample], outputs, self._half)
            scores.append(self._call.score_of(outputs[1:], sample, score))
        return torch.stack(scores)

    def switched(self, masks: Tensor, score: Score = "logit") -> tuple[Tensor, Tensor]:
        """Compute each sample's score with all channels, and with only the channels of each mask.

        If the output of the first linear layer of the tail is a sum over channels, one product with the masks gives
        this output, and only the layers after it run. For any other sample, the tail runs in chunks, and equal masks
        run once. Both scores are computed in the same way, so that their difference contains no rounding errors.

        Args:
            masks: booleans N×M×K, True for the channels that stay on.
            score: "logit" or "probability".

        Returns:
            The scores with all channels, N, and with the masks, N×M.

        Raises:
            CAMError: as in :meth:`__call__`.
        """
        scores, tail = [], self._tail
        for sample, rows in enumerate(masks):
            each = self._summed(rows, sample, score) if tail is self._tail else None
            if each is None:
                log.debug("sample %d runs mask by mask", sample)
                first, which = unique_rows(rows)
                given = torch.cat((torch.ones_like(rows[:1]), rows[first])).to(self._activation.dtype)
                outputs, tail = self._outputs(self._over_maps(given), self._activation[sample].mul, sample, tail)
                check_read(self._tail, self._activation[sample], outputs, self._half)
                each = self._call.score_of(outputs, sample, score)
                each = torch.cat((each[:1], each[1:][which]))
            scores.append(each)
        together = torch.stack(scores)
        return together[:, 0], together[:, 1:]

    def tail(self, sample: int) -> nn.Module:
        """Return the tail for one sample as a module.

        Args:
            sample: the index of the sample.

        Returns:
            A module that takes activations R×K×h×w and returns the model's output, with R rows.

        Raises:
            CAMError: as in :meth:`__call__`.
        """
        activation = self._activation[sample]
        on_and_off = self._over_maps(torch.tensor([[1], [0]]).to(activation))
        outputs, tail = self._outputs(on_and_off, activation.mul, sample, self._tail)
        check_read(self._tail, self._activation[sample], outputs, self._half)
        return TailModule(tail, sample)

    def _outputs(
        self, rows: Tensor, values: Callable[[Tensor], Tensor], sample: int, tail: Tail
    ) -> tuple[Tensor, Tail]:
        """Return the outputs for ``values(rows)``, and the tail that proved right: the given tail, or all modules.

        The first row stands for the layer's own activation. ``values`` makes new tensors, because an in-place ReLU may
        write to them.
        """
        outputs = self._proven(rows, values, sample, tail, self._chunk)
        if outputs is not None:
            return outputs, tail
        # The cause may also affect the samples after this one, so they run in full as well.
        log.debug("sample %d runs in full, because recorded outputs give another result", sample)
        full = tail.in_full()
        outputs = self._proven(rows, values, sample, full, self._chunk)
        if outputs is None:
            raise CAMError(
                f"the model must give sample {sample} the same output in every batch, got a different output in a "
                "second run; does it use random numbers or statistics of the batch in eval mode? "
                "Explain one sample at a time with perturbations_per_eval=1"
            )
        return outputs, full

    def _proven(
        self, rows: Tensor, values: Callable[[Tensor], Tensor], sample: int, tail: Tail, chunk: int
    ) -> Tensor | None:
        """Return one output for each of ``values(rows)``, or None if the first is not the sample's known output."""
        outputs: list[Tensor] = []
        replays = bool(tail.outputs)
        try:
            for part in self._bar(rows.split(chunk)):
                output = self._run(tail, values(part), sample)
                outputs.append(output)
                if replays and len(outputs) == 1 and not self._known(output, sample):
                    return None
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
            if not replays:
                raise
            log.debug("a run with recorded outputs fails: %s", error)
            return None
        together = torch.cat(outputs)
        # There is no other way after a full run, so only differences far above the rounding errors are refused.
        return together if replays or self._known(together, sample, 100) else None

    def _known(self, outputs: Tensor, sample: int, slack: float = 1) -> bool:
        """Tell whether the first row equals the sample's output in the first run, on the scale of all rows."""
        expected, outputs = wide(self._output[sample]), wide(outputs)
        if outputs.shape[1:] != expected.shape:
            return False
        within = bound(torch.cat((expected[None], outputs)), self._half) * (1 if self._half else slack)
        return same(outputs[0], expected, within)

    def _run(self, tail: Tail, values: Tensor, sample: int) -> Tensor:
        # State outside of modules has N rows. A run with another number of rows fails instead of using it unnoticed.
        if tail.outputs and 1 < len(values) == len(self._activation):
            return tail(torch.cat((values, values[-1:])), sample)[:-1]
        return tail(values, sample)

    def _summed(self, masks: Tensor, sample: int, score: Score) -> Tensor | None:
        """Return the 1 + M scores with all channels and with each mask, or None if the tail does not sum channels."""
        linear, target = self._linear, self._call.target[sample]
        if linear is None:
            return None
        last = linear.returns(self._output)
        column = target[0] if last and score == "logit" else None
        products, bias = linear.products(sample, self._activation.shape[1], column)
        strength = wide(self._activation[sample]).flatten(1).abs().mean(1).to(products.dtype)
        numbers = masks.to(products.dtype)
        if not self._channels_add_up(linear, masks[(numbers @ strength).argmin()], sample):
            return None
        outputs = torch.cat((products.sum(0, keepdim=True), numbers @ products)) + bias
        expected = wide(linear.output[sample])
        known = expected if column is None else expected[column : column + 1]
        if not same(outputs[0], known, bound(expected, self._half)):
            return None
        if column is not None:
            return outputs[:, 0]
        if not last:
            # As many rows as need the memory of one chunk of activations.
            chunk = max(self._chunk, self._chunk * self._activation[0].numel() // max(outputs.shape[1], 1))
            rest = Tail(self._tail.rerun, linear.head, linear.output)
            scores = self._proven(outputs, Tensor.clone, sample, rest, chunk)
            if scores is None:
                return None
            outputs = scores
        return self._call.score_of(outputs, sample, score)

    def _channels_add_up(self, linear: FirstLinear, weakest: Tensor, sample: int) -> bool:
        """Tell whether each input of the linear layer depends on one channel, and the rest only on its output.

        In one run channels are switched off while the linear layer returns its recorded output, so the model's output
        must not change. For every two channels, one row keeps the first and drops the second: the inputs of the linear
        layer that belong to the first must not change, and those of the second must be zero. The ``weakest`` mask is
        checked as well, for models that treat weak features differently. Stronger masks lie between the checked ones.
        """
        activation = self._activation[sample]
        active = activation.flatten(1).any(1)
        codes = separating_masks(int(active.sum())).to(active.device)
        apart = active.repeat(len(codes), 1)
        apart[:, active] = codes
        rows = torch.cat((torch.ones_like(active)[None], apart, weakest[None]))
        pinned = PinnedTail(self._tail, linear)
        maps = self._over_maps(rows.to(activation.dtype))
        outputs = self._proven(maps, activation.mul, sample, pinned, self._chunk)
        if outputs is None:
            return False
        outputs = wide(outputs)
        if not same(outputs, outputs[0], bound(outputs[0], self._half)):
            return False
        sizes = [len(part) for part in rows.split(self._chunk)]
        source = wide(torch.cat([given[:size] for given, size in zip(pinned.sources, sizes, strict=True)]))
        known = wide(linear.source[sample])
        if not same(source[0], known, bound(known, self._half)):
            return False
        each = source.view(len(rows), rows.shape[1], -1)
        # The same arithmetic on the same numbers: differences are at most the rounding errors of the channel itself.
        rounding = max(1e-5, 2 * torch.finfo(linear.source.dtype).eps) * each[0].abs().amax(1)
        return bool(((each - each[0] * rows[..., None]).abs() <= rounding[:, None]).all())

    def _over_maps(self, masks: Tensor) -> Tensor:
        return masks.reshape(*masks.shape, *[1] * (self._activation.ndim - 2))

    def _bar(self, chunks: tuple[Tensor, ...]) -> Any:
        return tqdm(chunks, desc="resumed runs", leave=False, disable=not self._show_progress or len(chunks) < 2)
