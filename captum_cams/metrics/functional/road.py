"""ROAD and ARCC as pure functions: what changes when the most and when the least relevant pixels are removed."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from captum_cams.engine.generators import generator_of
from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError, brief
from captum_cams.metrics.functional.adcc import Explain, adcc_of_parts, coherency, complexity, explained_classes
from captum_cams.metrics.functional.imputation import noisy_linear_imputation
from captum_cams.metrics.functional.scoring import Change, Forward, of_class, scores_of_changes

PERCENTAGES = (20, 40, 60, 80)


def road_curves(
    forward_func: Forward,
    inputs: Tensor,
    maps: Tensor,
    target: Any = None,
    *,
    percentages: Sequence[int] = PERCENTAGES,
    noise: float = 0.01,
    seed: int = 0,
    perturbations_per_eval: int = 8,
    task: Task = "multiclass",
) -> tuple[Tensor, Tensor]:
    """Measure the target's probability after the most relevant, and after the least relevant pixels are removed.

    Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods", ICML 2022. Removed pixels are
    replaced by :func:`noisy_linear_imputation`, with the same noise for all images and maps.

    Args:
        forward_func: the model, which returns N×classes; its state does not change.
        inputs: images, signals or volumes, as for :func:`deletion_curve`.
        maps: explanations of the inputs, as for :func:`deletion_curve`. Pixels with equal values are removed row by
            row, from the most and from the least relevant side alike.
        target: the explained classes; None means the predicted class of each unchanged image.
        percentages: how many percent of the pixels are removed, integers from 1 to 99. As in pytorch-grad-cam, they are
            the pixels at or above a percentile of the map.
        noise: standard deviation of the noise, in the units of the images.
        seed: seed of the noise.
        perturbations_per_eval: changed images in one forward pass.
        task: meaning of the model's output, as for :func:`deletion_curve`.

    Returns:
        The probabilities without the most relevant pixels, and those without the least relevant pixels: N×percentages
        each, 0 to 1; for a regression, the predicted values.

    Raises:
        CAMError: an argument does not fit, the batch is empty, or images, maps or scores contain NaN or Inf.

    Example::

        maps = cc.GradCAM(model).attribute(images, labels)
        most, least = metrics.road_curves(model, images, maps, labels)  # 2×4 each
    """
    shares = list(percentages)
    if not shares or not all(type(share) is int and 0 < share < 100 for share in shares):
        raise CAMError(f"percentages must be integers from 1 to 99, got {brief(percentages)}; pass (20, 80)")

    def changes(images: Tensor, maps: Tensor) -> tuple[int, Change]:
        values = maps.flatten(1)
        total = values.shape[1]
        counts = [total + (share - 100) * (total - 1) // 100 for share in shares]
        # The place of each pixel when the most relevant ones go first, and when the least relevant ones do.
        places = torch.stack([_places(-values), _places(values)])
        side = torch.tensor([0] * (1 + len(counts)) + [1] * len(counts), device=values.device)
        limit = torch.tensor([0, *counts, *counts], device=values.device)

        def change(image: Tensor, version: Tensor) -> Tensor:
            removed = places[side[version], image] < limit[version, None]
            removed = removed.view(-1, 1, *images.shape[2:])
            return noisy_linear_imputation(images[image], removed, noise, generator_of(seed))

        return len(limit), change

    scores, probability = scores_of_changes(forward_func, inputs, maps, changes, perturbations_per_eval, task)
    most, least = of_class(probability, target, unchanged=scores[:, 0])[:, 1:].split(len(shares), dim=1)
    return most, least


def _places(values: Tensor) -> Tensor:
    """The place of each value in the increasing order of its row; equal values keep their order."""
    return values.argsort(dim=1, stable=True).argsort(dim=1)


def road(
    forward_func: Forward,
    inputs: Tensor,
    maps: Tensor,
    target: Any = None,
    *,
    percentages: Sequence[int] = PERCENTAGES,
    noise: float = 0.01,
    seed: int = 0,
    perturbations_per_eval: int = 8,
    task: Task = "multiclass",
) -> Tensor:
    """Compute ROAD: how much more the most relevant pixels matter to the model than the least relevant ones.

    It is the mean of (least − most)/2 over the percentages, where least and most are the results of
    :func:`road_curves`: the combined score of pytorch-grad-cam.

    Args:
        forward_func: the model, which returns N×classes; its state does not change.
        inputs: images, signals or volumes, as for :func:`deletion_curve`.
        maps: explanations of the inputs, as for :func:`deletion_curve`.
        target: the explained classes; None means the predicted class of each unchanged image.
        percentages: how many percent of the pixels are removed, as for :func:`road_curves`.
        noise: standard deviation of the noise, in the units of the images.
        seed: seed of the noise.
        perturbations_per_eval: changed images in one forward pass.
        task: meaning of the model's output, as for :func:`deletion_curve`.

    Returns:
        N values, −½ to ½, higher is better; 0 for a constant map. For a regression, half a difference of values.

    Raises:
        CAMError: in the same cases as :func:`road_curves`.

    Example::

        maps = cc.GradCAM(model).attribute(images, labels)
        print(metrics.road(model, images, maps, labels))
    """
    most, least = road_curves(
        forward_func,
        inputs,
        maps,
        target,
        percentages=percentages,
        noise=noise,
        seed=seed,
        perturbations_per_eval=perturbations_per_eval,
        task=task,
    )
    return (least - most).mean(1) / 2


def arcc(
    forward_func: Callable[..., Any],
    inputs: Tensor,
    maps: Tensor,
    target: Any = None,
    *,
    explain: Explain,
    perturbations_per_eval: int = 8,
    task: Task = "multiclass",
) -> Tensor:
    """Compute ARCC: one number for the coherency, the simplicity and the ROAD of an explanation.

    arXiv 2605.14641. It is the harmonic mean of coherency, 1 − complexity, and 2·ROAD cut to [0, 1]: ADCC with ROAD in
    the place of the average drop. It is 0 if one of the three terms is 0.

    Args:
        forward_func: the model, which returns N×classes; its state does not change.
        inputs: images, N×C×H×W.
        maps: explanations of the images, N×h×w or N×1×h×w.
        target: the explained classes; None means the predicted class of each image.
        explain: the ``attribute`` method of the explainer that made the maps, as for :func:`coherency`.
        perturbations_per_eval: changed images in one forward pass.
        task: meaning of the model's output; "regression" is refused, because ROAD has no range there.

    Returns:
        N values, 0 to 1, higher is better.

    Raises:
        CAMError: an argument does not fit, the batch is empty, images, maps or scores contain NaN or Inf, or the model
            has no probabilities.

    Example::

        cam = cc.GradCAM(model)
        maps = cam.attribute(images, labels)
        print(metrics.arcc(model, images, maps, labels, explain=cam.attribute))
    """
    if task == "regression":
        raise CAMError(
            'ARCC needs probabilities, got task="regression", which has none; use road, or pass a function as task '
            "that returns probabilities"
        )
    index = explained_classes(forward_func, inputs, maps, target, explain, task)
    removal = road(forward_func, inputs, maps, index, perturbations_per_eval=perturbations_per_eval, task=task)
    return arcc_of_parts(coherency(inputs, maps, explain, index), complexity(inputs, maps), removal)


def arcc_of_parts(coherent: Tensor, complicated: Tensor, removal: Tensor) -> Tensor:
    """Compute ARCC from its three parts.

    Args:
        coherent: result of :func:`coherency`, N values, 0 to 1.
        complicated: result of :func:`complexity`, N values, 0 to 1.
        removal: result of :func:`road`, N values, −½ to ½.

    Returns:
        N values, 0 to 1, higher is better.

    Raises:
        CAMError: a value of ROAD is not in [−½, ½], so that it was not made from probabilities.

    Example::

        half = torch.tensor([0.5])
        print(metrics.arcc_of_parts(half, half, half / 2))  # tensor([0.5000])
    """
    if bool((removal.abs() > 0.5 + 1e-6).any()):
        raise CAMError(
            f"ARCC needs ROAD of probabilities, which is in [−0.5, 0.5], got {float(removal.abs().max()):.3g}; let the "
            "function that was passed as task end with a sigmoid or a softmax"
        )
    return adcc_of_parts(coherent, complicated, 1 - (2 * removal).clamp(0, 1))
