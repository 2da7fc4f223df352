"""Read scores and probabilities from the output of a model, for each kind of task."""

import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, get_args
from weakref import WeakSet

import torch
from torch import Tensor

from captum_cams.engine.outputs import read_scores
from captum_cams.engine.targets import Index, wide
from captum_cams.engine.untouched import unwrap
from captum_cams.errors import CAMError, shape_of

Kind = Literal["multiclass", "multilabel", "binary", "regression"]
Task = Kind | Callable[[Any], Tensor]
"""What the model's output means.

- "multiclass": N×C logits of classes that exclude each other. Probabilities are the softmax over the classes.
- "multilabel": N×C logits of independent labels. A probability is the sigmoid of its logit.
- "binary": one logit z for each sample, N or N×1. It is read as the scores [−z, z] of the classes 0 and 1. The target
  is 0 or 1; ``target=None`` is 1 if z is positive, otherwise 0. A probability is the sigmoid of the score of its class.
  Two columns are refused: they are "multiclass" or "multilabel".
- "regression": N, N×1 or N×C values. Methods that need a probability use the value itself.
- a function of the model's output that returns scores, N or N×C. They are used both as logits and as probabilities.
  Gradients go through the function.

A target that is a function reads the model's output itself. Its scores are used unchanged, for every task.
"""

Score = Literal["logit", "probability"]
"""What a method reads from its runs: the score of the target itself, or its probability."""

_noticed: WeakSet[Any] = WeakSet()


def check_task(task: Any) -> Task:
    """Return the task unchanged.

    Raises:
        CAMError: if it is not a :data:`Task`.
    """
    if not callable(task) and task not in get_args(Kind):
        known = ", ".join(f'"{kind}"' for kind in get_args(Kind))
        raise CAMError(f"task must be {known}, or a function of the model's output, got {task!r}")
    return task


def scored(model: Callable[..., Any], task: Task | None) -> Callable[..., Tensor]:
    """Join the model and :func:`scores_of` into one function."""
    inner = unwrap(model)
    return lambda *args, **kwargs: scores_of(inner(*args, **kwargs), task)


def scores_of(output: Any, task: Task | None) -> Tensor:
    """Read the scores from the model's output, N×C for a classifier.

    Raises:
        CAMError: if the output has no scores, or they do not fit the task.
    """
    if callable(task):
        scores = task(output)
        if not isinstance(scores, Tensor) or scores.ndim not in (1, 2):
            got = shape_of(scores) if isinstance(scores, Tensor) else type(scores).__name__
            raise CAMError(f"a task that is a function must give scores N or N×C, got {got}")
    else:
        scores = read_scores(output)
    if task is None or task in ("multiclass", "multilabel"):
        return scores
    columns = scores[:, None] if scores.ndim == 1 else scores
    if task != "binary" or scores.ndim == 0:
        return columns
    if columns.shape[1] != 1:
        raise CAMError(
            f'task="binary" needs one logit for each sample, N or N×1, got {shape_of(scores)}; pass task="multiclass" '
            'for classes that exclude each other, or task="multilabel" for labels that do not'
        )
    return torch.cat((-columns, columns), 1)


def probabilities(scores: Tensor, task: Task | None) -> Tensor:
    """Convert the scores of :func:`scores_of` to probabilities; without a task, return them unchanged.

    Raises:
        CAMError: if the scores have no class axis, or a softmax would see only one class.
    """
    if task in ("multiclass", "multilabel") and (scores.ndim < 2 or (task == "multiclass" and scores.shape[1] < 2)):
        row = "N" if scores.ndim < 2 else "N×1"
        raise CAMError(
            f'task="{task}" needs N×C scores for a probability (C > 1 for a softmax), got {row}; pass task="binary" '
            'for one logit, task="regression" for a value, or a function of the output'
        )
    if task == "multiclass":
        return scores.softmax(1)
    return scores.sigmoid() if task in ("multilabel", "binary") else scores


def score_of(scores: Tensor, index: Index, score: Score = "logit", task: Task | None = None) -> Tensor:
    """Read one target from each row of scores R×classes: the score itself ("logit") or its probability; returns R."""
    scores = wide(scores)
    key: tuple[slice | int, ...] = (slice(None), *index)
    return (probabilities(scores, task) if score == "probability" else scores)[key]


def notice_probabilities(model: Callable[..., Any], scores: Tensor, task: Task | None) -> None:
    """Warn, once for each model, if its first output looks like probabilities although logits are expected."""
    owner = getattr(model, "__self__", model)  # each access creates a new bound method
    if task != "multiclass" or scores.ndim != 2 or scores.shape[1] < 2 or _is_noticed(owner):
        return
    with suppress(TypeError):  # objects without weak references are checked in every call
        _noticed.add(owner)
    values = wide(scores.detach())
    tolerance = 1e-4 + 4 * torch.finfo(scores.dtype).eps
    if bool((values >= 0).all() & ((values.sum(1) - 1).abs() <= tolerance).all()):
        warnings.warn(
            f"the outputs of {type(owner).__name__} look like probabilities (every row sums to one), and their "
            "softmax is not a probability; let the model return logits, or pass task=lambda output: output, which "
            "uses them unchanged",
            UserWarning,
            stacklevel=2,
        )


def _is_noticed(owner: Any) -> bool:
    with suppress(TypeError):
        return owner in _noticed
    return False
