"""ADCC and its parts as pure functions.

Poppi et al., "Revisiting The Evaluation of Class Activation Mapping for Explainability", CVPRW 2021, section 3. A
map M is resized to its image x and scaled to [0, 1]. The explained part of the image is x ∘ M.
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
from captum_cams.images import ImageForm, heat, look_channels_last, size_of
from captum_cams.metrics.functional.correlation import correlation
from captum_cams.metrics.functional.faithfulness import average_drop
from captum_cams.metrics.functional.scoring import check_maps, check_model

Explain = Callable[[Tensor, Any], Tensor]


def complexity(inputs: Tensor, maps: Tensor) -> Tensor:
    """Compute how much of the image a map marks: the mean of the map after scaling to [0, 1].

    Args:
        inputs: images, N×C×H×W or N×H×W×C; only their size matters.
        maps: explanations of the images, N×h×w or N×1×h×w.

    Returns:
        N values, 0 to 1, lower is simpler; 0 for a constant map.

    Raises:
        CAMError: the shapes do not fit, the batch is empty, or the maps contain NaN or Inf.

    Example::

        print(metrics.complexity(images, cc.GradCAM(model).attribute(images, labels)))
    """
    return heat(check_maps(inputs, maps), size_of(inputs)).flatten(1).mean(1).float()


def coherency(inputs: Tensor, maps: Tensor, explain: Explain, target: Any) -> Tensor:
    """Compute how similar the map of an image is to the map of its explained part, for the same class.

    The value is (ρ + 1)/2, where ρ is Pearson's correlation of both maps. It is ½ if one of the maps is constant and
    has no correlation.

    Args:
        inputs: images, N×C×H×W.
        maps: explanations of the images, N×h×w or N×1×h×w.
        explain: function from images and target to maps: the ``attribute`` method of an explainer.
        target: the explained classes in any form that Captum accepts; not None, because the predicted class of the
            explained part may be another class.

    Returns:
        N values, 0 to 1, higher is better.

    Raises:
        CAMError: the shapes do not fit, the batch is empty, or a map contains NaN or Inf.

    Example::

        cam = cc.GradCAM(model)
        print(metrics.coherency(images, cam.attribute(images, labels), cam.attribute, labels))
    """
    form, size = ImageForm.of(inputs, look_channels_last(inputs)), size_of(inputs)
    first, images = heat(check_maps(inputs, maps), size), form.standard(inputs)
    part = form.as_taken(images * first.to(images.dtype))
    second = heat(check_maps(inputs, explain(part, target)), size).to(first.dtype)
    return ((correlation(first.flatten(1), second.flatten(1)) + 1) / 2).float()


def adcc(
    forward_func: Callable[..., Any],
    inputs: Tensor,
    maps: Tensor,
    target: Any = None,
    *,
    explain: Explain,
    task: Task = "multiclass",
) -> Tensor:
    """Compute ADCC: one number for the coherency, the simplicity and the small average drop of an explanation.

    Poppi et al., CVPRW 2021, section 3: the harmonic mean 3 / (1/coherency + 1/(1 − complexity) + 1/(1 − drop)), where
    the drop of the target class is max(0, p − o)/p. It is 0 if one of the three terms is 0.

    Args:
        forward_func: the model; it returns logits N×classes. Its state does not change.
        inputs: images, N×C×H×W.
        maps: explanations of the images, N×h×w or N×1×h×w.
        target: the explained classes in any form that Captum accepts; None means the predicted class of each image.
        explain: the ``attribute`` method of the explainer that made the maps, as for :func:`coherency`.
        task: meaning of the model's output, as for :func:`average_drop`; "regression" is refused.

    Returns:
        N values, 0 to 1, higher is better.

    Raises:
        CAMError: shapes, target or task do not fit, the batch is empty, or the maps or the scores contain NaN or Inf.

    Example::

        cam = cc.GradCAM(model)
        maps = cam.attribute(images, labels)
        print(metrics.adcc(model, images, maps, labels, explain=cam.attribute))
    """
    index = explained_classes(forward_func, inputs, maps, target, explain, task)
    drop = average_drop(forward_func, inputs, maps, index, task=task) / 100
    return adcc_of_parts(coherency(inputs, maps, explain, index), complexity(inputs, maps), drop)


def explained_classes(
    forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any, explain: Explain, task: Task
) -> Any:
    """The explained class of each unchanged image, which the explained part keeps, after the arguments are checked."""
    check_model(forward_func)
    check_same_task(explain, task)
    check_maps(inputs, maps)
    with untouched(forward_func), recipes(forward_func, inputs):
        output = check_output(scores_of(unwrap(forward_func)(inputs.detach().clone()), task), len(inputs))
    return resolve_target(target, output)


def check_same_task(explain: Explain, task: Task) -> None:
    """Raise an error if ``explain`` is the method of an explainer for another task than the one that is measured."""
    own = getattr(getattr(explain, "__self__", None), "task", task)
    if own != task:
        raise CAMError(
            f"explain must belong to an explainer for the task {task!r}, which is measured, got an explainer for "
            f"task={own!r}; make the explainer with task={task!r}"
        )


def adcc_of_parts(coherent: Tensor, complicated: Tensor, drop: Tensor) -> Tensor:
    """Compute ADCC from its three parts.

    Args:
        coherent: result of :func:`coherency`, N values, 0 to 1.
        complicated: result of :func:`complexity`, N values, 0 to 1.
        drop: max(0, p − o)/p, N values, 0 to 1: the result of :func:`average_drop`, divided by 100.

    Returns:
        N values, 0 to 1, higher is better.

    Example::

        half = torch.tensor([0.5])
        print(metrics.adcc_of_parts(half, half, half))  # tensor([0.5000])
    """
    terms = torch.stack((coherent, 1 - complicated, 1 - drop))
    return torch.where((terms > 0).all(0), 3 / (1 / terms.clamp(min=1e-30)).sum(0), 0)
