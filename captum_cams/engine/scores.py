"""What a score is: how the output of a model is read for each kind of task."""

import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, get_args
from weakref import WeakSet

import torch
from torch import Tensor

from captum_cams.engine.targets import Index, wide
from captum_cams.engine.untouched import unwrap
from captum_cams.errors import CAMError, shape_of

Kind = Literal["multiclass", "multilabel", "binary", "regression"]
Task = Kind | Callable[[Any], Tensor]
"""What the model's output means.

- "multiclass": N×C logits of classes that exclude each other. A probability is the softmax over the classes.
- "multilabel": N×C logits, each of a label of its own. A probability is the sigmoid of its logit.
- "binary": one logit z for each sample, N or N×1. It is read as the scores [−z, z] of the sides 0 and 1, so that a
  target names the side, and ``target=None`` is the side that the sign of z says. A probability is the sigmoid of its
  side's score. Two columns are refused: they are "multiclass" or "multilabel".
- "regression": N, N×1 or N×C values. Wherever a probability is asked for, the value itself is taken.
- a function of the model's output, which gives scores N or N×C. They are taken as they are, as logits and as
  probabilities; gradients go through the function.

A target that is a function reads the model's output itself and gives scores that are taken as they are, whatever the
task is.
"""

Score = Literal["logit", "probability"]
"""What the runs of a method are read for: the score of the target as it is, or its probability."""

_noticed: WeakSet[Any] = WeakSet()


def check_task(task: Any) -> Task:
    """The task itself.

    Raises:
        CAMError: it is none.
    """
    if not callable(task) and task not in get_args(Kind):
        known = ", ".join(f'"{one}"' for one in get_args(Kind))
        raise CAMError(f"task must be {known}, or a function of the model's output, got {task!r}")
    return task


def scored(model: Callable[..., Any], task: Task | None) -> Callable[..., Any]:
    """The model, followed by :func:`scores_of` where that changes its output."""
    if task is None or task in ("multiclass", "multilabel"):
        return model
    inner = unwrap(model)
    return lambda *args, **kwargs: scores_of(inner(*args, **kwargs), task)


def scores_of(output: Any, task: Task | None) -> Any:
    """The scores N×C that a target chooses from; an output that is no tensor is handed on.

    Raises:
        CAMError: the output does not fit the task.
    """
    if callable(task):
        output = task(output)
        if not isinstance(output, Tensor) or output.ndim not in (1, 2):
            got = shape_of(output) if isinstance(output, Tensor) else type(output).__name__
            raise CAMError(f"a task that is a function must give scores N or N×C, got {got}")
    if not isinstance(output, Tensor) or task is None or task in ("multiclass", "multilabel"):
        return output
    columns = output[:, None] if output.ndim == 1 else output
    if task != "binary" or output.ndim == 0:
        return columns if output.ndim else output
    if columns.shape[1] != 1:
        raise CAMError(
            f'task="binary" needs one logit for each sample, N or N×1, got {shape_of(output)}; pass task="multiclass" '
            'for classes that exclude each other, or task="multilabel" for labels that do not'
        )
    return torch.cat((-columns, columns), 1)


def probabilities(scores: Tensor, task: Task | None) -> Tensor:
    """The probability of each of the scores that :func:`scores_of` gives; None takes them as they are.

    Raises:
        CAMError: the scores have no axis of classes, or one class alone under a softmax.
    """
    if task in ("multiclass", "multilabel") and (scores.ndim < 2 or (task == "multiclass" and scores.shape[1] < 2)):
        row = "N" if scores.ndim < 2 else "N×1"
        raise CAMError(
            f'task="{task}" needs N×C scores for a probability, C > 1 under a softmax, got {row}; pass task="binary" '
            'for one logit, task="regression" for a value, or a function of the output'
        )
    if task == "multiclass":
        return scores.softmax(1)
    return scores.sigmoid() if task in ("multilabel", "binary") else scores


def score_of(scores: Tensor, index: Index, score: Score = "logit", task: Task | None = None) -> Tensor:
    """One sample's target in every row of ``scores``, as it is ("logit") or as a "probability"."""
    scores = wide(scores)
    key: tuple[slice | int, ...] = (slice(None), *index)
    return (probabilities(scores, task) if score == "probability" else scores)[key]


def notice_probabilities(model: Callable[..., Any], scores: Tensor, task: Task | None) -> None:
    """Warn, once for each model, where logits are expected and the first output that is seen holds probabilities."""
    owner = getattr(model, "__self__", model)  # a bound method is made anew for each call
    if task != "multiclass" or scores.ndim != 2 or scores.shape[1] < 2 or _is_noticed(owner):
        return
    with suppress(TypeError):  # an object without room for a weak reference is looked at in every call
        _noticed.add(owner)
    values = wide(scores.detach())
    tolerance = 1e-4 + 4 * torch.finfo(scores.dtype).eps
    if bool((values >= 0).all() & ((values.sum(1) - 1).abs() <= tolerance).all()):
        warnings.warn(
            f"the outputs of {type(owner).__name__} look like probabilities (every row sums to one), and a softmax of "
            "them would be no probability; let the model return logits, or pass task=lambda output: output, which "
            "takes them as they are",
            UserWarning,
            stacklevel=2,
        )


def _is_noticed(owner: Any) -> bool:
    with suppress(TypeError):
        return owner in _noticed
    return False
