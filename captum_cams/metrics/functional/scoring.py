"""Run the model on changed images and read its scores; the faithfulness functions share this."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from captum_cams.engine.image_form import form_of
from captum_cams.engine.inputs import check_batch, recipes
from captum_cams.engine.scores import Task, check_task, notice_probabilities, probabilities, scores_of
from captum_cams.engine.targets import check_output, resolve_target, wide
from captum_cams.engine.untouched import modules_of, untouched, unwrap
from captum_cams.errors import CAMError, brief, check_at_least, check_choice, check_finite, check_tensor, shape_of
from captum_cams.images import ImageForm, blur, heat, upsample
from captum_cams.metrics.presets import Preset, Replacement, filler

Forward = Callable[..., Any]
Masking = Literal["multiply", "fgcam"]
"""How the explained part of an image is made; see :func:`average_drop`."""
Change = Callable[[Tensor, Tensor], Tensor]
"""A function from numbers of images and numbers of versions, R each, to R changed images."""


def check_model(forward_func: Forward) -> None:
    """Raise unless ``forward_func`` can be the model."""
    if not callable(forward_func) or hasattr(forward_func, "attribute"):
        got = "an explainer" if callable(forward_func) else brief(forward_func)
        raise CAMError(
            f"the first argument, forward_func, must be the model, got {got}; pass the model, the inputs and the maps, "
            "in this order"
        )


def check_maps(inputs: Tensor, maps: Tensor) -> Tensor:
    """The maps as N×1×h×w, or an error if they do not fit the images; signals and volumes have other axes."""
    check_tensor("inputs", inputs, "N×C×H×W")
    check_tensor("maps", maps, "N×h×w or N×1×h×w")
    count = check_batch((inputs,))
    if maps.ndim == inputs.ndim - 1:
        maps = maps[:, None]
    if inputs.ndim not in (3, 4, 5) or maps.ndim != inputs.ndim or maps.shape[:2] != (count, 1):
        inner = "d×h×w" if inputs.ndim == 5 else "h×w"
        signals = " (signals N×C×T need maps N×t or N×1×t)" if inputs.ndim == 3 else ""
        raise CAMError(
            f"inputs must be N×C×{inner.upper()} and maps must be N×{inner} or N×1×{inner} with the same N, "
            f"got {shape_of(inputs)} and {shape_of(maps)}{signals}; if the maps have several channels, sum over the "
            "channels"
        )
    check_finite("maps", maps)
    return wide(maps.detach().to(inputs.device))


def model_form(forward_func: Forward, inputs: Tensor) -> ImageForm:
    """The form in which the model takes these images."""
    model = unwrap(forward_func)
    with recipes(forward_func, inputs):
        return form_of(model, modules_of(model), inputs, lambda: model(inputs.detach().clone()))


def curve(
    forward_func: Forward,
    inputs: Tensor,
    maps: Tensor,
    replacement: Replacement,
    is_removed: Callable[[Tensor, Tensor], Tensor],
    preset: Preset,
    perturbations_per_eval: int,
    task: Task,
) -> tuple[Tensor, Tensor]:
    """Scores and probabilities while pixels are removed or shown, in decreasing order of the map.

    Args:
        forward_func: the model.
        inputs: N×C×H×W.
        maps: the pixels with the highest values are replaced first.
        replacement: what stands in the place of removed pixels.
        is_removed: function from the rank of a pixel and the number of pixels that had their turn to a boolean.
        preset: how many pixels each step replaces.
        perturbations_per_eval: changed images in one forward pass.
        task: meaning of the model's output.

    Returns:
        Scores and probabilities, N×(steps + 1)×classes each.
    """

    def changes(images: Tensor, maps: Tensor) -> tuple[int, Change]:
        fill, rank = filler(replacement, images), _rank(maps)
        counts = preset.counts(rank[0].numel()).to(rank.device).view(-1, *[1] * (rank.ndim - 1))

        def change(image: Tensor, version: Tensor) -> Tensor:
            return fill(image, is_removed(rank[image], counts[version]))

        return len(counts), change

    return scores_of_changes(forward_func, inputs, maps, changes, perturbations_per_eval, task)


def scores_of_changes(
    forward_func: Forward,
    inputs: Tensor,
    maps: Tensor,
    changes: Callable[[Tensor, Tensor], tuple[int, Change]],
    perturbations_per_eval: int,
    task: Task,
) -> tuple[Tensor, Tensor]:
    """Scores and probabilities of several versions of each image.

    Args:
        forward_func: the model.
        inputs: N×C×H×W.
        maps: explanations of the images, N×h×w or N×1×h×w.
        changes: function from the images and from the maps at their size to the number of versions of each image, and
            to the function that makes the versions: from numbers of images and numbers of versions to changed images.
        perturbations_per_eval: changed images in one forward pass.
        task: meaning of the model's output.

    Returns:
        Scores and probabilities, N×versions×classes each.
    """
    check_at_least("perturbations_per_eval", perturbations_per_eval, 1)
    check_model(forward_func)
    maps = check_maps(inputs, maps)
    with untouched(forward_func):
        form = model_form(forward_func, inputs)
        images = form.standard(inputs.detach().clone())
        versions, change = changes(images, upsample(maps, images.shape[2:]))
        pairs = torch.cartesian_prod(torch.arange(len(images)), torch.arange(versions)).to(images.device)
        scores = torch.cat(
            [
                scores_for(forward_func, form.as_taken(change(some[:, 0], some[:, 1])), task)
                for some in pairs.split(perturbations_per_eval)
            ]
        )
    size = len(inputs), versions, -1
    return scores.view(size), probabilities(scores, task).view(size)


def of_class(probability: Tensor, target: Any, unchanged: Tensor) -> Tensor:
    """The curve of the target class of each image; without a target, of the class with the highest unchanged score."""
    return probability[torch.arange(len(probability)), :, classes_of(target, unchanged)]


def before_and_after(
    forward_func: Forward, inputs: Tensor, maps: Tensor, target: Any, masking: Masking, task: Task
) -> tuple[Tensor, Tensor]:
    """The probability of the target class for each image, and for its explained part: N each."""
    check_choice("masking", masking, get_args(Masking))
    check_model(forward_func)
    maps = check_maps(inputs, maps)
    with untouched(forward_func):
        form = model_form(forward_func, inputs)
        images = form.standard(inputs.detach().clone())
        size = images.shape[2:]
        if masking == "multiply":
            part = images * heat(maps, size).to(images.dtype)
        else:
            maps = upsample(maps, size)
            kept = (_rank(maps) < maps[0].numel() // 2) & (maps > 0)
            part = torch.where(kept, images, blur(images))
        scores, of_part = (scores_for(forward_func, form.as_taken(some), task) for some in (images, part))
        before, after = probabilities(scores, task), probabilities(of_part, task)
        classes = classes_of(target, scores)[:, None]
    return before.gather(1, classes)[:, 0], after.gather(1, classes)[:, 0]


def _rank(maps: Tensor) -> Tensor:
    """The position of each pixel in the decreasing order of its map, N×1×H×W; 0 is the highest value."""
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order)
    rank.scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
    return rank.view_as(maps)


def scores_for(forward_func: Forward, images: Tensor, task: Task) -> Tensor:
    """The model's scores for these images, N×classes."""
    model = unwrap(forward_func)
    with recipes(forward_func, images):
        output = check_output(scores_of(model(images), check_task(task)), len(images))
    if output.ndim > 2:
        raise CAMError(f"the model must return scores N×classes, got {shape_of(output)}; reduce its other axes first")
    check_finite("scores of the model", output)
    notice_probabilities(model, output, task)
    return output.float()


def classes_of(target: Any, unchanged: Tensor) -> Tensor:
    """The index of the target class of each image, N."""
    if callable(target) or (isinstance(target, list) and any(map(callable, target))):
        raise CAMError(
            "target must be a class for metrics, got a function of the output; pass one image at a time and the "
            "function as task=target, or task=target.bound(model, image) if it has to see the image first"
        )
    return torch.tensor([index[0] for index in resolve_target(target, unchanged)], device=unchanged.device)
