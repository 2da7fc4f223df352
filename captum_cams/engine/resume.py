"""Run only what lies behind a layer, by letting everything before it return what it returned the first time.

On later runs the modules before the layer return what :mod:`captum_cams.engine.head` remembers, and the layer
returns the activations it is given. So any eager model works, skip connections included, without tracing.
In-place functions on what a remembered module returned, and other state outside modules, are noticed by a run
with a known answer; such models run in full.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_cams.engine.head import FirstLinear, Head
from captum_cams.engine.layout import Layout
from captum_cams.engine.rerun import Rerun
from captum_cams.engine.targets import Index, wide
from captum_cams.engine.trace import replaced, swapped
from captum_cams.engine.unique import unique_rows

log = logging.getLogger("captum_cams")

TOLERANCE = 1e-4
"""How far a shortcut may be from the run it replaces, relative to the largest score, in float32 and float64."""


def _equal(found: Tensor, expected: Tensor) -> bool:
    half = expected.dtype in (torch.float16, torch.bfloat16)
    tolerance = (200 if half else 1) * TOLERANCE * float(expected.abs().max()) + 1e-6
    return found.shape == expected.shape and torch.allclose(found.float(), expected.float(), rtol=0, atol=tolerance)


class Behind:
    """Values in the place of a layer's → outputs of the model, for copies of one sample."""

    def __init__(self, rerun: Rerun, head: Head, value: Tensor, layout: Layout | None = None) -> None:
        self.head, self.value, self.rerun, self.layout = head, value, rerun, layout
        self.outputs = head.outputs

    def __call__(self, values: Tensor, sample: int) -> Tensor:
        """The model's output, one row for each of ``values``, which are maps where there is a layout."""
        if self.layout is not None:
            values = self.layout.replaced(values, self.value[sample : sample + 1])
        with self._replaying(values, sample):
            return self.rerun.copies(sample, len(values), not self.outputs)

    @contextmanager
    def _replaying(self, values: Tensor, sample: int) -> Iterator[None]:
        count, batch, uses = len(values), self.value.shape[0], 0

        def replace(given: Any) -> Any:
            nonlocal uses
            uses += 1
            if uses != self.head.uses:
                return None
            fresh = values.to(self.value.dtype).clone()  # a following in-place ReLU writes to it
            return (fresh, *given[1:]) if self.head.at_input else fresh

        def rows(tensor: Tensor) -> Tensor:
            if tensor.ndim == 0 or tensor.shape[0] != batch:
                return tensor
            return tensor[sample : sample + 1].expand(count, *tensor.shape[1:])

        def remembered(module: nn.Module, outputs: list[Tensor | None]) -> Callable[..., Any]:
            forward, left = module.forward, iter(outputs)

            def forward_remembered(*args: Any, **kwargs: Any) -> Any:
                for output in left:
                    return args[0] if output is None else rows(output)
                return forward(*args, **kwargs)

            return forward_remembered

        forwards = {module: remembered(module, outputs) for module, outputs in self.outputs.items()}
        with replaced(self.head.layer, self.head.at_input, replace), swapped(forwards):
            yield


class _Part(nn.Module):
    def __init__(self, replay: Behind, sample: int) -> None:
        super().__init__()
        self.part = nn.ModuleList(replay.head.behind)
        self._replay, self._sample = replay, sample

    def forward(self, activations: Tensor) -> Tensor:
        return self._replay(activations, self._sample)


class Resume:
    """The part of the model behind the layer: activations or channel masks → outputs or scores.

    Args:
        behind: runs of what lies behind the layer.
        first_linear: the first Linear behind the layer, if there is one.
        activation: N×K×h×w, the layer's own.
        output: the model's output in the first run.
        target: the explained entry of each sample's output.
        chunk: rows of activations in one run.
        show_progress: a bar over the chunks.
    """

    def __init__(
        self,
        behind: Behind,
        first_linear: FirstLinear | None,
        activation: Tensor,
        output: Tensor,
        target: list[Index],
        chunk: int,
        show_progress: bool = False,
    ) -> None:
        self._replay = behind
        self._channels = _ChannelSum.of(behind.rerun, first_linear, activation, output)
        self._activation, self._output, self._target = activation, output, target
        self._chunk, self._show_progress = chunk, show_progress
        self._verified = self._channels_verified = False

    def __call__(self, activations: Tensor, sample: int) -> Tensor:
        """The model's output for R×K×h×w activations in the place of sample ``sample``'s: R rows."""
        if self._verified:
            return self._rows(activations, sample)
        # The layer's own activation goes first: its answer is known, and shows whether the head may be remembered.
        self._verified = True
        known = self._activation[sample : sample + 1]
        try:
            found = self._rows(torch.cat((known, activations.to(known.dtype))), sample)
            reason = "" if _equal(found[0], self._output[sample]) else "another output"
        except (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            reason = str(error)
        if not reason:
            return found[1:]
        log.debug("the part before the layer cannot be remembered (%s): every run is a full one", reason)
        self._replay.outputs, self._channels = {}, None
        return self._rows(activations, sample)

    def _rows(self, activations: Tensor, sample: int) -> Tensor:
        return torch.cat([self._replay(part, sample) for part in self._bar(activations.split(self._chunk))])

    def switched(self, masks: Tensor, score: str = "logit") -> Tensor:
        """The target's score with channels switched on or off: boolean masks N×M×K → N×M.

        Where the part behind the layer is a sum over channels up to its first Linear, no run of the layer's maps
        is needed: one product with the masks gives that Linear's output, and only what follows it is run. Anything
        else runs in chunks, equal masks once.
        """
        self._verify_channels()
        return torch.stack([self._switched(rows, sample, score) for sample, rows in enumerate(masks)])

    def _switched(self, masks: Tensor, sample: int, score: str) -> Tensor:
        if self._channels is not None:
            column = self._target[sample] if score == "logit" else None
            found = self._channels(masks, sample, column, self._chunk)
            return found if score == "logit" and found.ndim == 1 else self._replay.rerun.score_of(found, sample, score)
        first, which = unique_rows(masks)
        outputs = [
            self(self._over_maps(part) * self._activation[sample], sample)
            for part in self._bar(masks[first].to(self._activation.dtype).split(self._chunk))
        ]
        return self._replay.rerun.score_of(torch.cat(outputs), sample, score)[which]

    def behind(self, sample: int) -> nn.Module:
        """The part behind the layer as a module that holds its modules: activations R×K×h×w → outputs."""
        if not self._verified:
            self(self._activation[:1], 0)
        return _Part(self._replay, sample)

    def _over_maps(self, masks: Tensor) -> Tensor:
        return masks.reshape(*masks.shape, *[1] * (self._activation.ndim - 2))

    def _bar(self, chunks: tuple[Tensor, ...]) -> Any:
        return tqdm(chunks, desc="resumed runs", leave=False, disable=not self._show_progress or len(chunks) < 2)

    def _verify_channels(self) -> None:
        # A random half of the live channels on, then the other half: do they add up as the shortcut says?
        if self._channels is None or self._channels_verified:
            return
        self._channels_verified = True
        live = self._activation[0].flatten(1).any(1).cpu()
        order = torch.randperm(len(live), generator=torch.Generator().manual_seed(0))
        half = torch.zeros_like(live)
        half[order[live[order]][::2]] = True
        masks = torch.stack((half, live & ~half)).to(self._activation.device)
        found = self(self._over_maps(masks.to(self._activation.dtype)) * self._activation[0], 0)
        if self._channels is not None and not _equal(self._channels(masks, 0, None, self._chunk), found):
            log.debug("channels do not add up before the first Linear: masks are run one by one")
            self._channels = None


class _ChannelSum:
    """Masks → outputs, where the first Linear behind the layer reads every channel on its own.

    Pooling, ReLU, dropout and flattening keep channels apart and zero at zero, so the Linear's output is its bias
    plus the products of the channels that are on: U_k = Σ_j W_·j z_j over the entries z_j that channel k fills.
    """

    def __init__(self, linear: nn.Linear, source: Tensor, behind: Behind | None, channels: int, row: int) -> None:
        self._linear, self._source, self._behind = linear, source, behind
        self._channels, self._row = channels, row
        self._last: tuple[tuple[int, Index | None], Tensor, Tensor] | None = None

    @staticmethod
    def of(rerun: Rerun, first: FirstLinear | None, activation: Tensor, output: Tensor) -> "_ChannelSum | None":
        """The shortcut, if the first Linear's input splits evenly into channels."""
        if first is None or first.source.shape[1] % activation.shape[1] or len(first.source) != len(activation):
            return None
        is_output = first.output.shape == output.shape and torch.equal(first.output, output)
        behind = None if is_output else Behind(rerun, first.head, first.output)
        return _ChannelSum(first.module, first.source, behind, activation.shape[1], activation[0].numel())

    def __call__(self, masks: Tensor, sample: int, column: Index | None, chunk: int) -> Tensor:
        """The model's outputs for M×K masks; M scores if the Linear is the last and a column is given."""
        last = self._behind is None and column is not None and len(column) == 1
        products, bias = self._products(sample, column if last else None)
        outputs = masks.to(products.dtype) @ products + bias
        if self._behind is None:
            return outputs[:, 0] if last else outputs
        # As many rows as fit into the memory of a chunk of maps.
        rows = max(chunk, chunk * self._row // max(outputs.shape[1], 1))
        return torch.cat([self._behind(part, sample) for part in outputs.split(rows)])

    def _products(self, sample: int, column: Index | None) -> tuple[Tensor, Tensor]:
        if self._last is not None and self._last[0] == (sample, column):
            return self._last[1:]
        source = wide(self._source[sample]).view(self._channels, -1)
        weight = wide(self._linear.weight.detach())
        bias = weight.new_zeros(len(weight)) if self._linear.bias is None else wide(self._linear.bias.detach())
        if column is not None:
            weight, bias = weight[column[0], None], bias[column[0], None]
        # In parts that stay in the cache: the Linear of a VGG has a hundred million weights.
        parts = weight.view(len(weight), *source.shape).split(32)
        products = torch.cat([(part * source).sum(-1) for part in parts]).T
        self._last = (sample, column), products, bias
        return products, bias
