"""ADCC and its parts as pure functions.

Poppi et al., "Revisiting The Evaluation of Class Activation Mapping for Explainability", CVPRW 2021, section 3. A
map M is resized to its image and scaled to [0, 1], and E = x ∘ M is what it shows of the image x.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_cams.engine.inputs import recipes
from captum_cams.engine.scores import Task, scores_of
from captum_cams.engine.targets import check_output, resolve_target
from captum_cams.engine.untouched import untouched, unwrap
from captum_cams.errors import CAMError
from captum_cams.images import heat
from captum_cams.metrics.functional.faithfulness import average_drop, check_maps, check_model

Explain = Callable[[Tensor, Any], Tensor]


def complexity(inputs: Tensor, maps: Tensor) -> Tensor:
    """The mean of the scaled map: N, 0 to 1, lower is simpler; 0 for a constant map.

    Args:
        inputs: N×C×H×W.
        maps: N×h×w or N×1×h×w.
    """
    return heat(check_maps(inputs, maps), inputs.shape[-2:]).flatten(1).mean(1).float()


def coherency(inputs: Tensor, maps: Tensor, explain: Explain, target: Any) -> Tensor:
    """(ρ + 1)/2 with Pearson's ρ between the map of x and the map of E for the same class: N, 0 to 1.

    Where one of the two is constant and has no correlation it is ½.

    Args:
        inputs: N×C×H×W.
        maps: N×h×w or N×1×h×w.
        explain: images and target to maps, as an explainer's ``attribute``.
        target: the explained classes in any of Captum's forms but None, since E may be predicted differently.
    """
    size = inputs.shape[-2:]
    first = heat(check_maps(inputs, maps), size)
    second = heat(check_maps(inputs, explain(inputs * first.to(inputs.dtype), target)), size).to(first.dtype)
    pair = torch.stack((first, second)).double().flatten(2)
    centred = pair - pair.mean(2, keepdim=True)
    spread = centred.norm(dim=2).prod(0)
    correlation = centred.prod(0).sum(1) / spread.where(spread > 0, 1)
    return ((correlation.clamp(-1, 1) + 1) / 2).float()


def adcc(
    forward_func: Callable[..., Any],
    inputs: Tensor,
    maps: Tensor,
    target: Any = None,
    *,
    explain: Explain,
    task: Task = "multiclass",
) -> Tensor:
    """3 / (1/coherency + 1/(1 − complexity) + 1/(1 − drop)) per image: N, 0 to 1, higher is better.

    The drop is max(0, p − o)/p of the explained class. A term that is zero makes the whole zero.

    Args:
        forward_func: the model, returning logits N×classes.
        inputs: N×C×H×W.
        maps: N×h×w or N×1×h×w.
        target: the explained classes in any of Captum's forms; None is the class predicted for the unchanged inputs.
        explain: as in :func:`coherency`.
        task: what the model's output means, as for :func:`average_drop`; "regression" is refused.

    Raises:
        CAMError: shapes, target or task do not fit, the batch is empty, or maps or scores hold NaN or Inf.
    """
    check_model(forward_func)
    own = getattr(getattr(explain, "__self__", None), "task", task)
    if own != task:
        raise CAMError(f"explain must belong to an explainer for the task {task!r} that is measured, got task={own!r}")
    check_maps(inputs, maps)
    with untouched(forward_func), recipes(forward_func, inputs):
        output = check_output(scores_of(unwrap(forward_func)(inputs.detach().clone()), task), len(inputs))
    index = resolve_target(target, output)
    drop = average_drop(forward_func, inputs, maps, index, task=task) / 100
    return adcc_of_parts(coherency(inputs, maps, explain, index), complexity(inputs, maps), drop)


def adcc_of_parts(coherent: Tensor, complicated: Tensor, drop: Tensor) -> Tensor:
    """The harmonic mean that is :func:`adcc`, from values that are known: N, 0 to 1.

    Args:
        coherent: coherency, N.
        complicated: complexity, N.
        drop: max(0, p − o)/p, N, 0 to 1.
    """
    terms = torch.stack((coherent, 1 - complicated, 1 - drop))
    return torch.where((terms > 0).all(0), 3 / (1 / terms.clamp(min=1e-30)).sum(0), 0)
