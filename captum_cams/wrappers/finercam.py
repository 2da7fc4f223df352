"""Finer-CAM."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.wrapped import WrappedCAM
from captum_cams.cost import Cost
from captum_cams.engine.call import Call
from captum_cams.engine.scores import Task, notice_probabilities
from captum_cams.engine.targets import Index, wide
from captum_cams.errors import CAMError, brief, check_at_least, check_choice, check_finite, shape_of
from captum_cams.paper import Paper
from captum_cams.registry import register

Weighting = Literal["mean", "probability"]
STRENGTH: dict[Weighting, float] = {"mean": 0.6, "probability": 1.0}


@register
class FinerCAM(WrappedCAM):
    """Shows what tells the class from the classes that are most like it, with the method of the base.

    Zhang et al. 2025 change the score, not the method: map = the base's map of y_c − γ·mean_d y_d, over T reference
    classes d ("mean"). The code of the authors weighs them: Σ_d p_d (y_c − γ y_d) / Σ_d p_d, with the probabilities p
    of the same run ("probability"). The references are chosen once, on the unchanged image, and every run of the base
    and of wrappers around Finer-CAM reads the new score. A method that reads a probability gets the sigmoid of the
    score if the outputs are logits: with one reference and γ = 1, this is p_c / (p_c + p_d).

    Args:
        base: see :class:`WrappedCAM`. CAM, CLRP, SGLRP and Relevance-CAM compare classes themselves and refuse.
        references: T, the number of classes whose scores are closest to that of the class (all others if there are
            fewer); or a list of classes for all images; or a list with one such list for each image of the batch.
        weighting: "mean" or "probability"; the latter needs ``task`` "multiclass" (p is the softmax) or "multilabel"
            (the sigmoid).
        strength: γ, at least 0; None takes the published one, 0.6 for "mean" and 1 for "probability".
        **options: see :class:`WrappedCAM`.

    Raises:
        CAMError: ``references`` has none of these forms, ``weighting`` is not one of its choices or does not fit
            ``task``, or ``strength`` is negative; in a call, if the target is a function, the output has fewer than two
            classes, or a reference is the class itself or no class of the output.

    Example::

        cam = cc.FinerCAM(model, "layer4", base="gradcam", references=[3, 5])
        maps = cam.attribute(images, target=7)  # why 7, and neither 3 nor 5
    """

    title = "Finer-CAM"
    paper = Paper(
        "Zhang et al.",
        "Finer-CAM: Spotting the Difference Reveals Finer Details for Visual Explanation",
        "CVPR",
        2025,
        "https://arxiv.org/abs/2501.11309",
    )
    cost = Cost(bases=1)

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        base: str | CAMAttribution = "gradcam",
        references: int | Sequence[int] | Sequence[Sequence[int]] = 3,
        weighting: Weighting = "mean",
        strength: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, base=base, **options)
        check_choice("weighting", weighting, Weighting)
        if weighting == "probability" and self.task not in ("multiclass", "multilabel"):
            raise CAMError(
                f'weighting="probability" needs the probabilities of classes, task="multiclass" or "multilabel", got '
                f'{self.task!r}; use weighting="mean"'
            )
        if strength is not None and not (isinstance(strength, int | float) and isfinite(strength) and strength >= 0):
            raise CAMError(f"strength must be a number of at least 0, or None, got {brief(strength)}")
        self.references = _checked(references)
        self.weighting, self.strength = weighting, strength

    @property
    def at_input_size(self) -> bool:
        return self.base.at_input_size

    def map_size(self, call: Call) -> torch.Size:
        return self.base.map_size(call)

    def explain(self, call: Call) -> Tensor:
        return self.base.explain(call)

    def map_of(self, call: Call, relu_attributions: bool | None = None) -> Tensor:
        return self.base.map_of(call, relu_attributions)

    def answer(self, call: Call, question: Callable[[Call], Tensor]) -> Tensor:
        if call.task is None:
            raise CAMError(
                "Finer-CAM sets a class against others and needs its index, got a function as the target; put the "
                "difference into the function and use the base alone"
            )
        self.find(call)  # on the scores of all classes, as the base alone does
        groups: dict[tuple[Index, tuple[int, ...]], list[int]] = {}
        for n, pair in enumerate(self._compared(call)):
            groups.setdefault(pair, []).append(n)
        answers = [self.base.answer(self._contrast(call, samples, *pair), question) for pair, samples in groups.items()]
        order = torch.tensor([n for samples in groups.values() for n in samples])
        return torch.cat(answers)[order.argsort().to(answers[0].device)]

    def _compared(self, call: Call) -> list[tuple[Index, tuple[int, ...]]]:
        """The target and the reference classes of each sample."""
        with torch.no_grad():
            output = wide(call.output())
        check_finite(f"scores of the model ({type(call.network).__name__})", output)
        notice_probabilities(call.network, output, call.task)
        if output.ndim < 2 or output.shape[1] < 2:
            raise CAMError(
                f"Finer-CAM sets a class against others and needs scores of at least two, got {shape_of(output)}; for "
                'one logit pass task="binary", and for a value use the base alone'
            )
        pairs = []
        for n, index in enumerate(call.resolved(output).target):
            scores = output[n : n + 1][_rows(slice(None), index)][0]
            pairs.append((index, self._references(scores, index[0], n, call.samples)))
        return pairs

    def _references(self, scores: Tensor, label: int, sample: int, samples: int) -> tuple[int, ...]:
        """The reference classes of one sample, from its scores of all classes."""
        if isinstance(self.references, int):
            nearest = (scores - scores[label]).abs().argsort(stable=True).tolist()
            return tuple([c for c in nearest if c != label][: self.references])
        given = self.references
        if isinstance(given[0], tuple):
            if len(given) != samples:
                raise CAMError(f"references must hold one list for each sample, expected {samples}, got {len(given)}")
            given = given[sample]
        if label in given:
            raise CAMError(
                f"references must not hold the class that is explained, got {brief(given)} for class {label} in sample "
                f"{sample}; leave it out, or pass a list of references for each sample"
            )
        if max(given) >= len(scores):
            raise CAMError(f"references must be in 0…{len(scores) - 1}, got {brief(given)}; does the model have them?")
        return given

    def _contrast(self, call: Call, samples: list[int], index: Index, references: tuple[int, ...]) -> Call:
        """The call of samples with the same target and references, with the new score as its only one, R×1."""
        part = call if len(samples) == call.samples else call.rows(call.inputs[0][samples], samples)
        strength = STRENGTH[self.weighting] if self.strength is None else self.strength
        shares = SHARES[self.weighting]
        own, compared_with = _rows(index[0], index), [_rows(d, index) for d in references]

        def scorer(*args: Any, **kwargs: Any) -> Tensor:
            output = wide(call.scorer(*args, **kwargs))
            others = torch.stack([output[key] for key in compared_with], 1)
            compared = (shares(others, call.task) * others).sum(1)
            return (output[own] - strength * compared)[:, None]

        # A score of its own: as of an independent label if it is made of logits, otherwise as of a value.
        logits = call.task in ("multiclass", "multilabel", "binary")
        return replace(part, scorer=scorer, task="multilabel" if logits else "regression", target=[(0,)] * len(samples))


def _rows(label: int | slice, index: Index) -> tuple[int | slice, ...]:
    """The key of the scores of a class in outputs N×classes×…, at the place of the target."""
    return (slice(None), label, *index[1:])


def _checked(references: Any) -> Any:
    """Convert ``references`` to a number, a tuple of classes, or a tuple of such tuples."""
    given = references.tolist() if hasattr(references, "tolist") else references
    if isinstance(given, int) and not isinstance(given, bool):
        check_at_least("references", given, 1)
        return given
    each = given if isinstance(given, list | tuple) and any(isinstance(row, list | tuple) for row in given) else [given]
    for row in each:
        known = isinstance(row, list | tuple) and row and all(type(c) is int and c >= 0 for c in row)
        if not known or len(set(row)) != len(row):
            raise CAMError(
                "references must be the number of closest classes, a list of different classes, or such a list for "
                f"each sample, got {brief(references)}"
            )
    return tuple(map(tuple, given)) if each is given else tuple(given)


def _equal_shares(others: Tensor, task: Task | None) -> Tensor:
    return torch.full_like(others, 1 / others.shape[1])


def _shares_of_probability(others: Tensor, task: Task | None) -> Tensor:
    """The probabilities divided by their sum: of a softmax, this is the softmax over these classes alone."""
    return (others if task == "multiclass" else torch.nn.functional.logsigmoid(others)).softmax(1)


SHARES = {"mean": _equal_shares, "probability": _shares_of_probability}
