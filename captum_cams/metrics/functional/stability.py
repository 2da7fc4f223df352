"""Sensitivity and infidelity as pure functions: Captum computes them, and a seed fixes the changes of the images.

Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", NeurIPS 2019.
"""

import math
from collections.abc import Sequence
from typing import Any

import captum.metrics
import torch
from torch import Generator, Tensor

from captum_cams.engine.generators import generator_of
from captum_cams.engine.scores import Task
from captum_cams.engine.targets import plain_target
from captum_cams.engine.untouched import untouched
from captum_cams.errors import CAMError, brief, check_at_least
from captum_cams.images import ImageForm, look_channels_last, upsample
from captum_cams.metrics.functional.adcc import Explain
from captum_cams.metrics.functional.scoring import (
    Forward,
    check_maps,
    check_model,
    classes_of,
    model_form,
    scores_for,
)
from captum_cams.metrics.presets import Preset, filler, find_preset

_SHARES = (1 / 8, 1 / 2)
"""The smallest and the largest side of a replaced box, as a share of the side of the image."""


def sensitivity(
    inputs: Tensor,
    maps: Tensor,
    explain: Explain,
    target: Any,
    *,
    radius: float = 0.02,
    samples: int = 10,
    seed: int = 0,
    perturbations_per_eval: int = 8,
) -> Tensor:
    """Measure how much the map changes at most if a little noise is added to the image.

    Yeh et al., NeurIPS 2019, max-sensitivity, as ``captum.metrics.sensitivity_max`` computes it: the largest
    ‖Φ(x + ε) − Φ(x)‖ / ‖Φ(x)‖ over the samples, with the Euclidean norm of the map Φ at its own size. The norm of a map
    that is zero everywhere counts as 1. The noise ε is uniform in [−r, r] for each value of the image, where r is
    ``radius`` times the distance of the largest to the smallest value of this image. All images of one size get the
    same noise, apart from r.

    Args:
        inputs: images, N×C×H×W or N×H×W×C; changed images of integers are rounded.
        maps: explanations of the images as ``explain`` gives them, N×1×h×w or N×h×w.
        explain: the ``attribute`` method of the explainer that made the maps.
        target: the explained classes in any form that Captum accepts; not None, because the predicted class of a
            changed image may be another class.
        radius: the largest change of a value, as a share of the range of the image, above 0. For images that fill
            [0, 1], the default is that of Captum.
        samples: number of changed images for each image.
        seed: another seed gives other noise; it does not depend on the batch.
        perturbations_per_eval: changed images that are explained together; at least one for each image.

    Returns:
        N values, 0 or greater, lower is better.

    Raises:
        CAMError: an argument does not fit, or a map contains NaN or Inf.

    Example::

        cam = cc.GradCAM(model)
        maps = cam.attribute(images, labels)
        print(metrics.sensitivity(images, maps, cam.attribute, labels))
    """
    check_at_least("samples", samples, 1)
    check_at_least("perturbations_per_eval", perturbations_per_eval, 1)
    check_radius(radius)
    maps, classes = check_maps(inputs, maps).double(), _one_each(target, len(inputs))  # squares of values may be large
    form, numbered = ImageForm.of(inputs, look_channels_last(inputs)), _Numbered(seed, len(inputs))

    def changed(images: Tensor) -> Tensor:
        standard = form.standard(images)
        low, high = (end(dim=tuple(range(1, images.ndim)), keepdim=True) for end in (standard.amin, standard.amax))
        noise = [torch.rand(standard.shape[1:], generator=generator) * 2 - 1 for generator in numbered(images)]
        scale = radius * (high - low)
        return form.as_taken(standard + scale * torch.stack(noise).to(standard).repeat(len(inputs), *_ones(standard)))

    def explained(given: Any) -> tuple[Tensor]:
        if isinstance(given, tuple):  # Captum asks for the maps of the unchanged images first
            return (maps,)
        each = [index for index in classes for _ in range(len(given) // len(inputs))]
        found = check_maps(given, explain(given, each))
        if found.shape[2:] != maps.shape[2:]:
            raise CAMError(
                "maps must be those that explain gives, without resizing them, got another size than that of the maps "
                "of changed images; pass maps=explain(inputs, target)"
            )
        return (found.to(maps),)

    at_once = _at_once(len(inputs), samples, perturbations_per_eval)
    return captum.metrics.sensitivity_max(
        explained, inputs, changed, n_perturb_samples=samples, max_examples_per_batch=at_once
    ).float()


def infidelity(
    forward_func: Forward,
    inputs: Tensor,
    maps: Tensor,
    target: Any = None,
    *,
    preset: str | Preset = "rise",
    samples: int = 50,
    seed: int = 0,
    perturbations_per_eval: int = 8,
    task: Task = "multiclass",
) -> Tensor:
    """Measure how far the map is from telling how much the score falls when a box of the image is replaced.

    Yeh et al., NeurIPS 2019, definition 2.1, as ``captum.metrics.infidelity`` computes it with ``normalize=True``: the
    mean of (β · Iᵀφ − (f(x) − f(x_I)))² over the samples, where f is the score of the class and x_I the image with a
    replaced box. I is 1 in the box and 0 elsewhere. The attribution φ is the map, resized to the image by linear
    interpolation and divided by the number of channels, for each channel, so that Iᵀφ is the sum of the map in the box.
    β is the scale with which the map fits best, since the scale of a map means nothing; it may be negative, and so a
    map and its negative have the same infidelity. The sides of a box have the same share of each side of the image,
    drawn from 1/8 to 1/2, and its place is uniform. All images of one size get the same boxes.

    Args:
        forward_func: the model; its state does not change.
        inputs: images, N×C×H×W, or signals N×C×T, or volumes N×C×D×H×W.
        maps: explanations, N×1×h×w or N×h×w, with the axes of the inputs.
        target: the explained classes in any form that Captum accepts; None means the predicted class of each image.
        preset: what replaces the pixels of the box: as in the deletion of this preset.
        samples: number of boxes.
        seed: another seed gives other boxes; they do not depend on the batch.
        perturbations_per_eval: changed images in one forward pass; at least one for each image.
        task: meaning of the model's output. The score is the logit, or what the task says, and not a probability.

    Returns:
        N values in squared units of the score, 0 or greater, lower is better.

    Raises:
        CAMError: an unknown preset, shapes, target or task do not fit, the batch is empty, or the maps or the scores
            contain NaN or Inf.

    Example::

        maps = cc.GradCAM(model).attribute(images, labels)
        print(metrics.infidelity(model, images, maps, labels))
    """
    check_at_least("samples", samples, 1)
    check_at_least("perturbations_per_eval", perturbations_per_eval, 1)
    check_model(forward_func)
    found, maps, numbered = find_preset(preset), check_maps(inputs, maps), _Numbered(seed, len(inputs))
    with untouched(forward_func):
        form = model_form(forward_func, inputs)
        images = form.standard(inputs.detach().clone())

        def score(given: Tensor) -> Tensor:
            return scores_for(forward_func, form.as_taken(given), task).view(len(given), -1).double()

        def changed(given: Tensor) -> tuple[Tensor, Tensor]:
            boxes = torch.stack([_box(given.shape[2:], generator) for generator in numbered(given)])
            inside = boxes[:, None].to(given.device).repeat(len(images), *_ones(given)).expand_as(given)
            return inside.double(), filler(found.deleted, given)(torch.arange(len(given)), inside)

        attribution = (upsample(maps.double(), images.shape[2:]) / images.shape[1]).expand_as(images)
        return (
            captum.metrics.infidelity(
                score,
                changed,
                images,
                attribution,
                target=classes_of(target, score(images)),
                n_perturb_samples=samples,
                max_examples_per_batch=_at_once(len(images), samples, perturbations_per_eval),
                normalize=True,
            )
            .clamp(min=0)
            .float()
        )


def check_radius(radius: float) -> None:
    """Raise an error unless the radius is positive and finite."""
    if not (radius > 0 and math.isfinite(radius)):
        raise CAMError(f"radius must be a positive share of the range of the image, got {radius}; the default is 0.02")


class _Numbered:
    """Gives the generators of the samples for which Captum asks in several calls; each sample has its own.

    Captum repeats each image as often as there are samples in a call.
    """

    def __init__(self, seed: int, images: int) -> None:
        self.seed, self.images, self.drawn = seed, images, 0

    def __call__(self, repeated: Tensor) -> Sequence[Generator]:
        samples = range(self.drawn, self.drawn + len(repeated) // self.images)
        self.drawn = samples.stop
        return [generator_of(self.seed, sample) for sample in samples]


def _box(size: Sequence[int], generator: Generator) -> Tensor:
    """A box as a mask of this size."""
    share, *places = torch.rand(1 + len(size), generator=generator, dtype=torch.float64).tolist()
    side = _SHARES[0] + share * (_SHARES[1] - _SHARES[0])
    lengths = [max(1, round(side * length)) for length in size]
    starts = [int(place * (all_ - length + 1)) for place, all_, length in zip(places, size, lengths, strict=True)]
    box = torch.zeros(tuple(size), dtype=torch.bool)
    box[tuple(slice(start, start + length) for start, length in zip(starts, lengths, strict=True))] = True
    return box


def _one_each(target: Any, samples: int) -> list[Any]:
    """The target of each sample."""
    target = plain_target(target)
    if target is None:
        raise CAMError(
            "target must be a class here, since changed images may have other predicted classes, got None; pass "
            "model(inputs).argmax(1)"
        )
    each = target if isinstance(target, list) else [target] * samples
    if len(each) != samples:
        raise CAMError(f"target must hold one entry for each image, expected {samples}, got {brief(target)}")
    return each


def _at_once(images: int, samples: int, perturbations_per_eval: int) -> int:
    """How many changed images Captum may make together; it takes as many of each image."""
    return min(max(images, perturbations_per_eval), images * samples)


def _ones(images: Tensor) -> list[int]:
    return [1] * (images.ndim - 1)
