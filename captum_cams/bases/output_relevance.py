"""What the methods share that carry relevance from the model's output."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.engine.call import Call
from captum_cams.engine.layers import Place
from captum_cams.engine.scores import Task, notice_probabilities, scores_of
from captum_cams.engine.targets import Index, resolve_target, wide
from captum_cams.errors import CAMError, check_finite, shape_of
from captum_cams.relevance.propagation import BatchNorm, Propagation, Range


class OutputRelevance(CAMAttribution):
    """The relevance of a layer, or of the pixels, signed, carried from the output by z⁺ (zβ at the input).

    Subclasses write :meth:`start`; nothing else tells them apart.

    Args:
        forward_func: as in :class:`CAMAttribution`.
        layer: a module or its name; None is the input, N×1×H×W.
        device_ids: as in :class:`CAMAttribution`.
        batch_norm: see :class:`Propagation`.
        pixel_range: see :class:`Propagation`.
        **options: see :class:`CAMAttribution`.
    """

    rectifies = False

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        batch_norm: BatchNorm = "identity",
        pixel_range: Range | None = None,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        Propagation(batch_norm, pixel_range)  # raises where they do not fit
        self.batch_norm, self.pixel_range = batch_norm, pixel_range

    @property
    def at_input_size(self) -> bool:
        return self.layer is None

    @abstractmethod
    def start(self, output: Tensor, chosen: Tensor) -> Tensor:
        """The relevance at the output, of its shape; ``chosen`` is True at each sample's target."""

    def explain(self, call: Call) -> Tensor:
        call = call.copied()  # for the trail, which marks them
        if call.task == "binary":  # relevance starts at the logit itself, not at the scores of its two sides
            call = replace(call, scorer=call.network)
        end = Place(self.layer, call.at_input) if self.layer is not None else call.inputs[0]
        propagation = Propagation(self.batch_norm, self.pixel_range)
        with propagation.trail(call.network, end, inputs=call.inputs) as trail:
            output = call.output()
        relevance = trail.back(self._start(call, wide(output.detach())), output)
        return relevance if self.layout is None else self.layout.to_map(relevance)

    def _start(self, call: Call, output: Tensor) -> Tensor:
        check_finite(f"scores of the model ({type(call.network).__name__})", output)
        notice_probabilities(call.network, output, call.task)
        binary = call.task == "binary"
        target = _the_logit(call.target, output) if binary else resolve_target(call.target, output)
        return self.start(output, chosen(output, target))


def _the_logit(target: Any, output: Tensor) -> list[Index]:
    """The one logit of each sample, which speaks for side 1."""
    if any(side == (0,) for side in resolve_target(target, scores_of(output, "binary"))):
        raise CAMError(
            "relevance is what speaks for the logit, which is side 1 of a binary task, got side 0 for some samples; "
            "pass target=1, or a network with a score for each side"
        )
    return [(0,) * (output.ndim - 1)] * len(output)


def chosen(output: Tensor, target: list[Index]) -> Tensor:
    """True at each sample's target, False elsewhere."""
    mask = torch.zeros_like(output, dtype=torch.bool)
    for row, index in zip(mask, target, strict=True):
        row[index] = True
    return mask


def check_classes(output: Tensor, method: str, task: Task) -> None:
    """Raise unless the output is N×classes with at least two of them that are not the sides of one logit."""
    if task == "binary":
        raise CAMError(f"{method} sets classes against each other, and one logit has none; use LRP or Grad-CAM")
    if output.ndim != 2 or output.shape[1] < 2:
        raise CAMError(f"{method} sets classes against each other and needs N×classes scores, got {shape_of(output)}")
