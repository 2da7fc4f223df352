"""Run only what lies behind a layer, by letting everything before it return what it returned the first time.

On later runs the modules before the layer return what :mod:`captum_cams.engine.head` remembers, and the layer
returns the activations it is given. So any eager model works, skip connections included, without tracing.

Nothing is taken on trust. With the changed activations of each sample rides the layer's own, whose answer is known:
where it comes out otherwise (in-place functions on what a remembered module returned, other state outside modules),
the sample is run in full. The same row is the score that differences are taken from, so both have one origin.
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
from captum_cams.engine.replay import Behind, Pinned
from captum_cams.engine.scores import Score
from captum_cams.engine.targets import wide
from captum_cams.engine.unique import unique_rows
from captum_cams.errors import CAMError

log = logging.getLogger("captum_cams")

TOLERANCE = 1e-4
"""How far a shortcut may be from the run it replaces, as a share of the spread of the sample's scores."""


def _bound(values: Tensor, half: bool) -> float:
    """How far apart equal scores may be, for scores of the size and spread of ``values``."""
    rounding = 0.02 if half else 32 * torch.finfo(torch.float32).eps
    return float(TOLERANCE * (values.max() - values.min()) + rounding * values.abs().max())


@dataclass(frozen=True)
class Pace:
    """How runs of many changed activations go.

    Args:
        chunk: activations in one run.
        show_progress: a bar over the chunks.
    """

    chunk: int = 2
    show_progress: bool = False


class _Part(nn.Module):
    def __init__(self, replay: Behind, sample: int) -> None:
        super().__init__()
        self.part = nn.ModuleList(replay.head.behind)
        self._replay, self._sample = replay, sample

    def forward(self, activations: Tensor) -> Tensor:
        return self._replay(activations.clone(), self._sample)


class Resume:
    """The part of the model behind the layer: activations or masks → outputs or scores.

    Args:
        behind: runs of what lies behind the layer.
        first_linear: the first Linear behind the layer, if there is one.
        activation: N×K×h×w, the layer's own.
        output: the model's output in the first run.
        pace: of the runs.
    """

    def __init__(
        self,
        behind: Behind,
        first_linear: FirstLinear | None,
        activation: Tensor,
        output: Tensor,
        pace: Pace,
    ) -> None:
        self._behind, self._call, self._activation, self._output = behind, behind.rerun.call, activation, output
        self._linear = first_linear if first_linear and _may_be_a_sum(first_linear, activation) else None
        self._half = any(seen.dtype in (torch.float16, torch.bfloat16) for seen in (activation, output))
        self._chunk, self._show_progress = pace.chunk, pace.show_progress

    def __call__(self, activations: Tensor, sample: int) -> Tensor:
        """The model's output for R×K×h×w activations in the place of sample ``sample``'s: R rows."""
        known = self._activation[sample : sample + 1]
        rows = torch.cat((known, activations.to(known.dtype)))
        return self._outputs(rows, Tensor.clone, sample, self._behind)[0][1:]

    def masked(self, masks: Tensor, score: Score = "logit") -> Tensor:
        """The target's score with the layer's activation times each of the masks R×1×h×w: N×R."""
        scores, behind = [], self._behind
        rows = torch.cat((torch.ones_like(masks[:1]), masks)).to(self._activation.dtype)
        for sample, activation in enumerate(self._activation):
            outputs, behind = self._outputs(rows, activation.mul, sample, behind)
            scores.append(self._call.score_of(outputs[1:], sample, score))
        return torch.stack(scores)

    def switched(self, masks: Tensor, score: Score = "logit") -> tuple[Tensor, Tensor]:
        """The target's score with all channels on, N, and with boolean masks N×M×K of them, N×M.

        Where the part behind the layer is a sum over channels up to its first Linear, no run of the layer's maps
        is needed: one product with the masks gives that Linear's output, and only what follows it is run. Any other
        sample runs in chunks, equal masks once. Both scores are computed in the same way, so that their difference
        holds no difference in rounding.
        """
        scores, behind = [], self._behind
        for sample, rows in enumerate(masks):
            found = self._summed(rows, sample, score) if behind is self._behind else None
            if found is None:
                log.debug("sample %d runs mask by mask", sample)
                first, which = unique_rows(rows)
                given = torch.cat((torch.ones_like(rows[:1]), rows[first])).to(self._activation.dtype)
                outputs, behind = self._outputs(self._over_maps(given), self._activation[sample].mul, sample, behind)
                found = self._call.score_of(outputs, sample, score)
                found = torch.cat((found[:1], found[1:][which]))
            scores.append(found)
        together = torch.stack(scores)
        return together[:, 0], together[:, 1:]

    def behind(self, sample: int) -> nn.Module:
        """The part behind the layer as a module that holds its modules: activations R×K×h×w → outputs."""
        twice = self._activation[sample : sample + 1].expand(2, *self._activation.shape[1:])
        return _Part(self._outputs(twice, Tensor.clone, sample, self._behind)[1], sample)

    def _outputs(
        self, rows: Tensor, values: Callable[[Tensor], Tensor], sample: int, behind: Behind
    ) -> tuple[Tensor, Behind]:
        """Outputs for ``values(rows)``, the first of which is the layer's own, and the runs that proved right.

        ``values`` makes new tensors, for a following in-place ReLU writes to them.
        """
        found = self._proven(rows, values, sample, behind, self._chunk)
        if found is not None:
            return found, behind
        # Whatever kept the sample from being remembered may touch the samples after it: they run in full as well.
        log.debug("the part before the layer cannot be remembered for sample %d: it runs in full", sample)
        full = behind.in_full()
        found = self._proven(rows, values, sample, full, self._chunk)
        if found is None:
            raise CAMError(
                f"the model must give sample {sample} the same output whatever else is in the batch, got another one "
                "in a second run; does it draw random numbers, or use statistics of the batch, in eval mode? "
                "Explain one sample at a time with perturbations_per_eval=1"
            )
        return found, full

    def _proven(
        self, rows: Tensor, values: Callable[[Tensor], Tensor], sample: int, behind: Behind, chunk: int
    ) -> Tensor | None:
        """One output for each of ``values(rows)``, or None where the first is not the one of the first run."""
        outputs: list[Tensor] = []
        remembers = bool(behind.outputs)
        try:
            for part in self._bar(rows.split(chunk)):
                found = self._run(behind, values(part), sample)
                outputs.append(found)
                if remembers and len(outputs) == 1 and not self._known(found, sample):
                    return None
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
            if not remembers:
                raise
            log.debug("a run over remembered modules fails: %s", error)
            return None
        together = torch.cat(outputs)
        # A full run has no other to fall back on: only what no rounding explains counts against it.
        return together if remembers or self._known(together, sample, 100) else None

    def _known(self, found: Tensor, sample: int, slack: float = 1) -> bool:
        """Whether the first row is the sample's output in the first run, by the scale of all the rows."""
        expected, found = wide(self._output[sample]), wide(found)
        if found.shape[1:] != expected.shape:
            return False
        bound = _bound(torch.cat((expected[None], found)), self._half) * (1 if self._half else slack)
        return bool(((found[0] - expected).abs() <= bound).all())

    def _run(self, behind: Behind, values: Tensor, sample: int) -> Tensor:
        # What a model keeps outside of its modules has N rows: in a run of another size it cannot pass unnoticed.
        if behind.outputs and 1 < len(values) == len(self._activation):
            return behind(torch.cat((values, values[-1:])), sample)[:-1]
        return behind(values, sample)

    def _summed(self, masks: Tensor, sample: int, score: Score) -> Tensor | None:
        """The score with all channels on and with M×K masks, 1 + M, or None where channels are not summed."""
        linear, target = self._linear, self._call.target[sample]
        if linear is None:
            return None
        last = linear.returns(self._output)
        column = target[0] if last and score == "logit" else None
        products, bias = _products(linear, sample, self._activation.shape[1], column)
        strength = wide(self._activation[sample]).flatten(1).abs().mean(1).to(products.dtype)
        numbers = masks.to(products.dtype)
        if not self._channels_add_up(linear, masks[(numbers @ strength).argmin()], sample):
            return None
        outputs = torch.cat((products.sum(0, keepdim=True), numbers @ products)) + bias
        expected = wide(linear.output[sample])
        known = expected if column is None else expected[column : column + 1]
        if not bool(((outputs[0] - known).abs() <= _bound(expected, self._half)).all()):
            return None
        if column is not None:
            return outputs[:, 0]
        if not last:
            # As many rows as fit into the memory of a chunk of maps.
            chunk = max(self._chunk, self._chunk * self._activation[0].numel() // max(outputs.shape[1], 1))
            rest = Behind(self._behind.rerun, linear.head, linear.output)
            found = self._proven(outputs, Tensor.clone, sample, rest, chunk)
            if found is None:
                return None
            outputs = found
        return self._call.score_of(outputs, sample, score)

    def _channels_add_up(self, linear: FirstLinear, weakest: Tensor, sample: int) -> bool:
        """Whether what the Linear reads is made channel by channel, and all that follows depends on it alone.

        In one run the Linear returns what it returned the first time, so the model's output must not change, while
        channels are switched off. For every two of them a row has one on and the other off: what the first gives
        the Linear must stay the same, and the second must give nothing. The ``weakest`` mask is tried as well, for
        models that treat weak features in another way; the strong ones lie between the others and the known row.
        """
        activation = self._activation[sample]
        live = activation.flatten(1).any(1)
        codes = separating_masks(int(live.sum())).to(live.device)
        apart = live.repeat(len(codes), 1)
        apart[:, live] = codes
        rows = torch.cat((torch.ones_like(live)[None], apart, weakest[None]))
        pinned = Pinned(self._behind, linear)
        maps = self._over_maps(rows.to(activation.dtype))
        outputs = self._proven(maps, activation.mul, sample, pinned, self._chunk)
        if outputs is None:
            return False
        outputs = wide(outputs)
        if not bool(((outputs - outputs[0]).abs() <= _bound(outputs[0], self._half)).all()):
            return False
        sizes = [len(part) for part in rows.split(self._chunk)]
        source = wide(torch.cat([given[:size] for given, size in zip(pinned.sources, sizes, strict=True)]))
        known = wide(linear.source[sample])
        if not bool(((source[0] - known).abs() <= _bound(known, self._half)).all()):
            return False
        each = source.view(len(rows), rows.shape[1], -1)
        # The same arithmetic on the same numbers: they differ by the rounding of the channel itself, if at all.
        rounding = max(1e-5, 2 * torch.finfo(linear.source.dtype).eps) * each[0].abs().amax(1)
        return bool(((each - each[0] * rows[..., None]).abs() <= rounding[:, None]).all())

    def _over_maps(self, masks: Tensor) -> Tensor:
        return masks.reshape(*masks.shape, *[1] * (self._activation.ndim - 2))

    def _bar(self, chunks: tuple[Tensor, ...]) -> Any:
        return tqdm(chunks, desc="resumed runs", leave=False, disable=not self._show_progress or len(chunks) < 2)


def _may_be_a_sum(linear: FirstLinear, activation: Tensor) -> bool:
    # What has parameters mixes channels, or gives something where they are zero, and a Linear may be overridden.
    rows, width = linear.source.shape
    parameters = any(True for module in linear.between for _ in module.parameters())
    plain = getattr(type(linear.module), "forward", None) is nn.Linear.forward
    return plain and not parameters and rows == len(activation) and width % activation.shape[1] == 0


def _products(linear: FirstLinear, sample: int, channels: int, column: int | None) -> tuple[Tensor, Tensor]:
    """What each channel gives to each output of the Linear, channels×outputs, and its bias.

    U_k = Σ_j W_·j z_j over the entries z_j that channel k fills.
    """
    source = wide(linear.source[sample]).view(channels, -1)
    weight, given = wide(linear.module.weight.detach()), linear.module.bias
    bias = weight.new_zeros(len(weight)) if given is None else wide(given.detach())
    if column is not None:
        weight, bias = weight[column, None], bias[column, None]
    # In parts that stay in the cache: the Linear of a VGG has a hundred million weights.
    parts = weight.view(len(weight), *source.shape).split(32)
    return torch.cat([(part * source).sum(-1) for part in parts]).T, bias
