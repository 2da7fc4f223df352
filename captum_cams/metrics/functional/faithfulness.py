"""Faithfulness as pure functions: does the score change as the map says when pixels are removed or added?"""

from typing import Any

import torch
from torch import Tensor

from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError
from captum_cams.metrics.functional.scoring import Forward, Masking, before_and_after, curve, of_class
from captum_cams.metrics.presets import Preset, find_preset


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
    """Measure the target's probability while the pixels with the highest map values are removed step by step.

    Petsiuk et al., "RISE", BMVC 2018, section 4.2. With the preset "rise", the curve differs from the authors' code in
    three points: pixels with equal map values are taken row by row (their order there depends on NumPy's sorting), the
    target can be chosen (there it is always the predicted class), and maps smaller than the image are resized.

    Args:
        forward_func: the model; it returns logits (or log-probabilities) N×classes, or what ``task`` says. Its state
            does not change.
        inputs: images, N×C×H×W, or signals N×C×T, or volumes and clips N×C×D×H×W. A pixel of a volume is a voxel, and
            the map orders all voxels of the volume together.
        maps: explanations, N×h×w or N×1×h×w, with the axes of the inputs; resized to them by linear interpolation.
        target: the explained classes in any form that Captum accepts; None means the predicted class of each unchanged
            image.
        preset: number of steps and replacement of the pixels: a name from ``PRESETS`` or a :class:`Preset`.
        perturbations_per_eval: changed images in one forward pass.
        task: meaning of the model's output: "multiclass", "multilabel", "binary", "regression", or a function from the
            output to scores; see :data:`captum_cams.engine.scores.Task`.

    Returns:
        N×(steps + 1) probabilities, 0 to 1, the unchanged image first; for a regression, the predicted values.

    Raises:
        CAMError: an unknown preset, shapes, target or task do not fit, the batch is empty, or the maps or the scores
            contain NaN or Inf.

    Example::

        maps = cc.GradCAM(model).attribute(images, labels)
        curves = metrics.deletion_curve(model, images, maps, labels, preset="quick")  # 2×11
        print(metrics.curve_area(curves))
    """
    found = find_preset(preset)
    scores, probability = curve(
        forward_func, inputs, maps, found.deleted, torch.lt, found, perturbations_per_eval, task
    )
    return of_class(probability, target, unchanged=scores[:, 0])


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
    """Measure the target's probability while the pixels with the highest map values are added step by step.

    The steps start from the blurred or empty image of the preset. The paper and the order of the pixels are those of
    :func:`deletion_curve`.

    Args:
        forward_func: the model, which returns N×classes; its state does not change.
        inputs: images, N×C×H×W.
        maps: explanations of the images, N×h×w or N×1×h×w.
        target: the explained classes; None means the predicted class of each complete image.
        preset: a name from ``PRESETS`` or a :class:`Preset`.
        perturbations_per_eval: changed images in one forward pass.
        task: meaning of the model's output, as for :func:`deletion_curve`.

    Returns:
        N×(steps + 1) probabilities, 0 to 1, the complete image last; for a regression, the predicted values.

    Raises:
        CAMError: in the same cases as :func:`deletion_curve`.

    Example::

        maps = cc.GradCAM(model).attribute(images, labels)
        curves = metrics.insertion_curve(model, images, maps, labels, preset="quick")  # 2×11
        print(curves[:, -1])  # the probabilities of the complete images
    """
    found = find_preset(preset)
    scores, probability = curve(
        forward_func, inputs, maps, found.inserted_into, torch.ge, found, perturbations_per_eval, task
    )
    return of_class(probability, target, unchanged=scores[:, -1])


def curve_area(curve: Tensor) -> Tensor:
    """Compute the area under deletion or insertion curves by the trapezoidal rule.

    The last step may replace fewer pixels than the other steps. It counts as much as they do, as in the authors' code
    of RISE.

    Args:
        curve: N×(steps + 1), as :func:`deletion_curve` returns it.

    Returns:
        N areas; 0 to 1 for probabilities.

    Example::

        print(metrics.curve_area(torch.linspace(1, 0, 11)[None]))  # tensor([0.5000])
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
    """Measure how much probability is lost if the model sees only the explained part of each image.

    Chattopadhay et al., "Grad-CAM++", WACV 2018, section 4.1: 100 · max(0, p − o) / p, where p is the probability for
    the image and o the probability for its explained part.

    Args:
        forward_func: the model; it returns logits (or log-probabilities) N×classes. Its state does not change.
        inputs: images, signals or volumes, as for :func:`deletion_curve`.
        maps: explanations of the inputs, as for :func:`deletion_curve`.
        target: the explained classes in any form that Captum accepts; None means the predicted class of each image.
        masking: how the explained part is made. "multiply" multiplies the image by the map, scaled to [0, 1]. "fgcam"
            (Qiu et al., AAAI 2024) keeps the half of the pixels with the highest positive map values and blurs the
            other pixels.
        task: meaning of the model's output. "regression" is refused, because values have no zero that could be lost.

    Returns:
        N values in percent, 0 to 100, lower is better. Their mean is the average drop of the paper.

    Raises:
        CAMError: shapes, target, masking or task do not fit, the batch is empty, or the maps or the scores contain NaN
            or Inf.

    Example::

        maps = cc.GradCAM(model).attribute(images, labels)
        print(metrics.average_drop(model, images, maps, labels).mean())
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
    """Tell for which images the explained part alone has a higher probability than the whole image.

    Paper, arguments and errors are those of :func:`average_drop`.

    Args:
        forward_func: the model, which returns N×classes.
        inputs: images, N×C×H×W.
        maps: explanations of the images, N×h×w or N×1×h×w.
        target: the explained classes; None means the predicted class of each image.
        masking: "multiply" or "fgcam".
        task: meaning of the model's output; "regression" is refused.

    Returns:
        N values in percent: 100 if the probability is higher, else 0. Their mean is the average increase of the paper;
        higher is better.

    Raises:
        CAMError: an argument does not fit.

    Example::

        maps = cc.GradCAM(model).attribute(images, labels)
        print(metrics.average_increase(model, images, maps, labels).mean())
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
    """Compute :func:`average_drop` and :func:`average_increase` together, with the forward passes of only one of them.

    Args:
        forward_func: the model, which returns N×classes.
        inputs: images, N×C×H×W.
        maps: explanations of the images, N×h×w or N×1×h×w.
        target: the explained classes; None means the predicted class of each image.
        masking: "multiply" or "fgcam".
        task: meaning of the model's output; "regression" is refused.

    Returns:
        The drop of each image, 0 to 100, and its increase, 0 or 100: N each.

    Raises:
        CAMError: an argument does not fit, or the probabilities are negative.

    Example::

        maps = cc.GradCAM(model).attribute(images, labels)
        drop, increase = metrics.drop_and_increase(model, images, maps, labels)
    """
    if task == "regression":
        raise CAMError(
            'average drop, average increase and ADCC need probabilities, got task="regression", which has none; use '
            "the deletion and insertion curves, or pass a function as task that returns probabilities"
        )
    before, after = before_and_after(forward_func, inputs, maps, target, masking, task)
    if bool((before < 0).any()):
        raise CAMError(
            f"average drop needs probabilities, got {float(before.min()):.3g} from the function that was passed as "
            "task; let this function end with a sigmoid or a softmax"
        )
    drop = (before - after).clamp(min=0) / before.clamp(min=torch.finfo(before.dtype).tiny)
    return 100 * drop, 100 * (before < after).to(before.dtype)
