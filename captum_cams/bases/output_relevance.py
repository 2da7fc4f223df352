"""Base class of methods that propagate relevance from the output of the model."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.engine.arranged import arranged_back, settled
from captum_cams.engine.call import Call
from captum_cams.engine.layers import Place
from captum_cams.engine.outputs import reading
from captum_cams.engine.scores import Task, notice_probabilities, scores_of
from captum_cams.engine.targets import Index, resolve_target, wide
from captum_cams.errors import CAMError, check_finite, shape_of
from captum_cams.relevance.propagation import BatchNorm, Propagation, Range


class OutputRelevance(CAMAttribution):
    """The base class of methods that propagate relevance from the output of the model to a layer or to the pixels.

    The map is signed. Relevance passes the layers by the z⁺ rule, and the first layer by the zβ rule if it arrives at
    the pixels. A subclass writes :meth:`start`.

    Args:
        forward_func: as in :class:`CAMAttribution`.
        layer: the module, or its dotted name, whose relevance is shown. None shows the relevance of the input, N×1×H×W.
        device_ids: as in :class:`CAMAttribution`.
        batch_norm: see :class:`Propagation`.
        pixel_range: see :class:`Propagation`.
        **options: see :class:`CAMAttribution`.

    Raises:
        CAMError: ``batch_norm`` or ``pixel_range`` does not fit; in a call, if an operation of the model has no rule.

    Example::

        class FromAllClasses(cc.OutputRelevance):
            cost = cc.Cost(gradients=1)

            def start(self, output, chosen):
                return output.relu()

        maps = FromAllClasses(model, "layer4").attribute(images)
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
        Propagation(batch_norm, pixel_range)  # raises an error if they do not fit
        self.batch_norm, self.pixel_range = batch_norm, pixel_range

    @property
    def at_input_size(self) -> bool:
        return self.layer is None

    @abstractmethod
    def start(self, output: Tensor, chosen: Tensor) -> Tensor:
        """Choose the relevance of the output, from which the propagation starts.

        Args:
            output: the scores of the model, N×classes or with more dimensions.
            chosen: True at the target of each sample and False elsewhere, with the shape of the output.

        Returns:
            The relevance, with the shape of the output.
        """

    def explain(self, call: Call) -> Tensor:
        call = call.copied()  # the trail marks the inputs
        if call.task == "binary":  # relevance starts at the logit itself, not at the scores of its two sides
            call = replace(call, scorer=reading(call.network))
        place = None if self.layer is None else Place(self.layer, call.at_input, self.layout)
        propagation = Propagation(self.batch_norm, self.pixel_range)
        with propagation.trail(call.network, place or call.inputs[0], inputs=call.inputs) as trail:
            output = call.output()
        relevance = trail.back(self._start(call, wide(output.detach())), output)
        if place is None or call.inputs[0].ndim < 3:
            return relevance
        return arranged_back(call, settled(call, place, tuple(relevance.shape)), relevance, "relevance")

    def _start(self, call: Call, output: Tensor) -> Tensor:
        """Check the scores and let the subclass choose the relevance of the output."""
        check_finite(f"scores of the model ({type(call.network).__name__})", output)
        notice_probabilities(call.network, output, call.task)
        binary = call.task == "binary"
        target = _the_logit(call.target, output) if binary else resolve_target(call.target, output)
        return self.start(output, chosen(output, target))


def _the_logit(target: Any, output: Tensor) -> list[Index]:
    """The index of the logit of each sample; a logit is evidence for side 1."""
    if any(side == (0,) for side in resolve_target(target, scores_of(output, "binary"))):
        raise CAMError(
            "relevance of a binary task explains the logit, so the target must be side 1, got side 0 for some samples; "
            "pass target=1, or a model with a score for each side"
        )
    return [(0,) * (output.ndim - 1)] * len(output)


def chosen(output: Tensor, target: list[Index]) -> Tensor:
    """A mask of the output that is True at the target of each sample."""
    mask = torch.zeros_like(output, dtype=torch.bool)
    for row, index in zip(mask, target, strict=True):
        row[index] = True
    return mask


def check_classes(output: Tensor, method: str, task: Task) -> None:
    """Raise an error unless the output has scores of at least two classes."""
    if task == "binary":
        raise CAMError(f"{method} compares classes, and the model gives one logit; use LRP or Grad-CAM")
    if output.ndim != 2 or output.shape[1] < 2:
        raise CAMError(
            f"{method} compares classes and needs scores N×classes, got {shape_of(output)}; use LRP or Grad-CAM"
        )
