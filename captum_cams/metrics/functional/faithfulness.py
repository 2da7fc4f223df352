"""Faithfulness as pure functions on tensors.

Shared by all of them:

Args:
    forward_func: the model, returning logits (or log-probabilities), N×classes, or what ``task`` says; its state is
        left as it was.
    inputs: N×C×H×W.
    maps: the explanations, N×h×w or N×1×h×w, resized to H×W with bilinear interpolation.
    target: the explained classes in any of Captum's forms; None is the class predicted for the unchanged inputs.
    perturbations_per_eval: changed images in one run of the model.
    task: "multiclass", "multilabel", "binary", "regression", or a function of the model's output that gives scores; see
        :data:`captum_cams.engine.scores.Task`. It says what a probability is. The curves of a regression are of the
        value itself; average drop and average increase are refused for it, since a value has no zero to lose.

Raises:
    CAMError: shapes, target or task do not fit, the batch is empty, or maps or scores hold NaN or Inf.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from captum_cams.engine.inputs import check_batch, recipes
from captum_cams.engine.scores import Task, check_task, notice_probabilities, probabilities, scores_of
from captum_cams.engine.targets import check_output, resolve_target, wide
from captum_cams.engine.untouched import untouched, unwrap
from captum_cams.errors import CAMError, brief, check_at_least, check_choice, check_finite, check_tensor, shape_of
from captum_cams.images import blur, heat, upsample
from captum_cams.metrics.presets import Preset, find_preset

Forward = Callable[..., Any]
Masking = Literal["multiply", "fgcam"]
"""What is shown of an image; see :func:`average_drop`."""


def deletion_curve(
    forward_func: Forward,
    inputs: Tensor,
    maps: Tensor,
    target: Any = None,
    *,
    preset: str | Preset = "rise",
    perturbations_per_eval: int = 8,
    task: Task = "multiclass",
) -> Tensor:
    """The target's probability while pixels are deleted in decreasing order of the map: N×(steps + 1), 0 to 1.

    Petsiuk et al., "RISE", BMVC 2018, section 4.2. With the preset "rise" the curve is that of the authors' code, but
    for three things: equal values of a map are taken by position, row by row (there in the order that NumPy's sorting
    happens to give); a target may be named (there it is the predicted class); and maps smaller than the image are
    resized.
    """
    found = find_preset(preset)

    def ends(images: Tensor) -> tuple[Tensor, Tensor]:
        return images, found.deleted(images)

    scores, chances = _between(forward_func, inputs, maps, ends, found, perturbations_per_eval, task)
    return _of_class(chances, target, unchanged=scores[:, 0])


def insertion_curve(
    forward_func: Forward,
    inputs: Tensor,
    maps: Tensor,
    target: Any = None,
    *,
    preset: str | Preset = "rise",
    perturbations_per_eval: int = 8,
    task: Task = "multiclass",
) -> Tensor:
    """The target's probability while pixels are inserted in decreasing order of the map: N×(steps + 1), 0 to 1.

    Source and order as in :func:`deletion_curve`.
    """
    found = find_preset(preset)

    def ends(images: Tensor) -> tuple[Tensor, Tensor]:
        return found.inserted_into(images), images

    scores, chances = _between(forward_func, inputs, maps, ends, found, perturbations_per_eval, task)
    return _of_class(chances, target, unchanged=scores[:, -1])


def curve_area(curve: Tensor) -> Tensor:
    """Area under curves N×(steps + 1) over the share of the steps, by the trapezoidal rule: N, 0 to 1.

    A last step that takes fewer pixels than the others counts as much as they do, as in the authors' code of RISE.
    """
    return torch.trapezoid(curve, dim=-1) / (curve.shape[-1] - 1)


def average_drop(
    forward_func: Forward,
    inputs: Tensor,
    maps: Tensor,
    target: Any = None,
    *,
    masking: Masking = "multiply",
    task: Task = "multiclass",
) -> Tensor:
    """100 · max(0, p − o) / p per image, N, in percent: what the explained part alone loses of the probability.

    Chattopadhay et al., "Grad-CAM++", WACV 2018, section 4.1. p is the probability of the image, o that of its
    explained part: the image times the map scaled to [0, 1] (``masking="multiply"``), or the half of the pixels
    with the highest, positive map values over a blurred image (``"fgcam"``; Qiu et al., AAAI 2024). The mean over
    images is the average drop.
    """
    return drop_and_increase(forward_func, inputs, maps, target, masking=masking, task=task)[0]


def average_increase(
    forward_func: Forward,
    inputs: Tensor,
    maps: Tensor,
    target: Any = None,
    *,
    masking: Masking = "multiply",
    task: Task = "multiclass",
) -> Tensor:
    """100 where the explained part alone has a higher probability than the image, else 0: N, in percent.

    Source and ``masking`` as in :func:`average_drop`.
    """
    return drop_and_increase(forward_func, inputs, maps, target, masking=masking, task=task)[1]


def drop_and_increase(
    forward_func: Forward,
    inputs: Tensor,
    maps: Tensor,
    target: Any = None,
    *,
    masking: Masking = "multiply",
    task: Task = "multiclass",
) -> tuple[Tensor, Tensor]:
    """:func:`average_drop` and :func:`average_increase`, both at the cost of one."""
    if task == "regression":
        raise CAMError(
            'average drop, average increase and ADCC compare probabilities, got task="regression"; use the curves, or '
            "a task that is a function and gives probabilities"
        )
    before, after = _explained(forward_func, inputs, maps, target, masking, task)
    if bool((before < 0).any()):
        raise CAMError(
            f"average drop needs probabilities, got {float(before.min()):.3g} from a task that is a function; let it "
            "end in a sigmoid or softmax"
        )
    drop = (before - after).clamp(min=0) / before.clamp(min=torch.finfo(before.dtype).tiny)
    return 100 * drop, 100 * (before < after).to(before.dtype)


def _between(
    forward_func: Forward,
    inputs: Tensor,
    maps: Tensor,
    ends: Callable[[Tensor], tuple[Tensor, Tensor]],
    preset: Preset,
    chunk: int,
    task: Task,
) -> tuple[Tensor, Tensor]:
    """Scores and probabilities, N×(steps + 1)×classes each, while pixels of one end replace those of the other.

    Args:
        forward_func: the model.
        inputs: N×C×H×W.
        maps: decreasing values of them give the order of the pixels.
        ends: images → what the steps begin with, and what they end with.
        preset: how many pixels each step replaces.
        chunk: changed images in one run of the model.
        task: of the model.
    """
    check_at_least("perturbations_per_eval", chunk, 1)
    check_model(forward_func)
    maps = upsample(check_maps(inputs, maps), inputs.shape[-2:])
    with untouched(forward_func):
        begin, end = ends(inputs.detach().clone())
        rank = _rank(maps)
        counts = preset.counts(rank[0].numel()).to(rank.device)
        which = torch.arange(len(inputs), device=rank.device).repeat_interleave(len(counts))
        parts = zip(which.split(chunk), counts.repeat(len(inputs)).split(chunk), strict=True)
        changed = (torch.where(rank[i] < count[:, None, None, None], end[i], begin[i]) for i, count in parts)
        scores = torch.cat([_scores(forward_func, rows, task) for rows in changed])
    size = len(inputs), len(counts), -1
    return scores.view(size), probabilities(scores, task).view(size)


def _of_class(chances: Tensor, target: Any, unchanged: Tensor) -> Tensor:
    """The curves of the target's class; without a target it is the class predicted for the unchanged images."""
    return chances[torch.arange(len(chances)), :, _classes(target, unchanged)]


def _rank(maps: Tensor) -> Tensor:
    """The place of each pixel in the decreasing order of its map, N×1×H×W."""
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order)
    rank.scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
    return rank.view_as(maps)


def _explained(
    forward_func: Forward, inputs: Tensor, maps: Tensor, target: Any, masking: Masking, task: Task
) -> tuple[Tensor, Tensor]:
    check_choice("masking", masking, get_args(Masking))
    check_model(forward_func)
    maps, size = check_maps(inputs, maps), inputs.shape[-2:]
    with untouched(forward_func):
        images = inputs.detach().clone()
        if masking == "multiply":
            part = images * heat(maps, size).to(images.dtype)
        else:
            maps = upsample(maps, size)
            kept = (_rank(maps) < maps[0].numel() // 2) & (maps > 0)
            part = torch.where(kept, images, blur(images))
        scores = _scores(forward_func, images, task)
        before, after = (probabilities(one, task) for one in (scores, _scores(forward_func, part, task)))
        classes = _classes(target, scores)[:, None]
    return before.gather(1, classes)[:, 0], after.gather(1, classes)[:, 0]


def check_model(forward_func: Forward) -> None:
    """Raise where something else stands in the model's place."""
    if not callable(forward_func) or hasattr(forward_func, "attribute"):
        got = "an explainer" if callable(forward_func) else brief(forward_func)
        raise CAMError(f"forward_func must be the model and comes first, then inputs and maps, got {got}")


def check_maps(inputs: Tensor, maps: Tensor) -> Tensor:
    """Maps N×1×h×w, or an error where they do not fit the images."""
    check_tensor("inputs", inputs, "N×C×H×W")
    check_tensor("maps", maps, "N×h×w or N×1×h×w")
    samples = check_batch((inputs,))
    if maps.ndim == 3:
        maps = maps[:, None]
    if inputs.ndim != 4 or maps.ndim != 4 or maps.shape[:2] != (samples, 1):
        raise CAMError(
            f"inputs must be N×C×H×W and maps N×h×w or N×1×h×w, got {shape_of(inputs)} and {shape_of(maps)}; "
            "sum contributions over channels first"
        )
    check_finite("maps", maps)
    return wide(maps.detach().to(inputs.device))


def _scores(forward_func: Forward, images: Tensor, task: Task) -> Tensor:
    model = unwrap(forward_func)
    with recipes(forward_func, images):
        output = check_output(scores_of(model(images), check_task(task)), len(images))
    if output.ndim > 2:
        raise CAMError(f"the model must return N×classes for a probability, got {shape_of(output)}")
    check_finite("scores of the model", output)
    notice_probabilities(model, output, task)
    return output.float()


def _classes(target: Any, unchanged: Tensor) -> Tensor:
    return torch.tensor([index[0] for index in resolve_target(target, unchanged)], device=unchanged.device)
