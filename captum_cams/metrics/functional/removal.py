"""Average gain, single deletion and calibration as pure functions: does the score change as much as the map says?"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError, brief, check_at_least
from captum_cams.images import minmax, size_of, upsample
from captum_cams.metrics.functional.correlation import correlation, rank_correlation
from captum_cams.metrics.functional.faithfulness import deletion_curve
from captum_cams.metrics.functional.scoring import (
    Change,
    Forward,
    Masking,
    before_and_after,
    check_maps,
    of_class,
    scores_of_changes,
)
from captum_cams.metrics.presets import Preset, find_preset


def average_gain(
    forward_func: Forward,
    inputs: Tensor,
    maps: Tensor,
    target: Any = None,
    *,
    masking: Masking = "multiply",
    task: Task = "multiclass",
) -> Tensor:
    """Measure how much probability is gained if the model sees only the explained part of each image.

    Zhang et al., "Opti-CAM", arXiv 2301.07002: 100 · max(0, o − p) / (1 − p), where p is the probability for the image
    and o the probability for its explained part. It is the counterpart of :func:`average_drop`.

    Args:
        forward_func: the model, which returns N×classes; its state does not change.
        inputs: images, signals or volumes, as for :func:`deletion_curve`.
        maps: explanations of the inputs, as for :func:`deletion_curve`.
        target: the explained classes; None means the predicted class of each image.
        masking: how the explained part is made: "multiply" or "fgcam"; see :func:`average_drop`.
        task: meaning of the model's output; "regression" is refused, because values have no upper end.

    Returns:
        N values in percent, 0 to 100, higher is better; 0 where p is 1, because nothing can be gained there.

    Raises:
        CAMError: an argument does not fit, the batch is empty, maps or scores contain NaN or Inf, or the model has no
            probabilities.

    Example::

        maps = cc.GradCAM(model).attribute(images, labels)
        print(metrics.average_gain(model, images, maps, labels).mean())
    """
    if task == "regression":
        raise CAMError(
            'average gain needs probabilities, got task="regression", which has none; use road or the deletion and '
            "insertion curves, or pass a function as task that returns probabilities"
        )
    before, after = before_and_after(forward_func, inputs, maps, target, masking, task)
    both = torch.stack((before, after))
    if bool(((both < 0) | (both > 1 + 1e-6)).any()):
        raise CAMError(
            f"average gain needs probabilities, got {float(both.min()):.3g} to {float(both.max()):.3g} from the "
            "function that was passed as task; let this function end with a sigmoid or a softmax"
        )
    room = 1 - before
    return 100 * torch.where(room > 0, (after - before).clamp(min=0) / room.where(room > 0, 1), 0).clamp(max=1)


def single_deletion(
    forward_func: Forward,
    inputs: Tensor,
    maps: Tensor,
    target: Any = None,
    *,
    patches: int = 4,
    deleted: Callable[[Tensor], Tensor] = torch.zeros_like,
    perturbations_per_eval: int = 8,
    task: Task = "multiclass",
) -> Tensor:
    """Compare the map with the drop of the score when one patch of the image alone is deleted.

    Hesse et al., "Benchmarking the Attribution Quality of Vision Models", NeurIPS 2024: Spearman's rank correlation,
    over the patches of a grid, of the sum of the map in a patch with the drop of the score. Their in-domain score
    (IDSDS) is this number for a model that was trained further with images without some patches; for another model
    it is their single deletion score.

    Args:
        forward_func: the model, which returns N×classes; its state does not change.
        inputs: images, signals or volumes, as for :func:`deletion_curve`.
        maps: explanations of the inputs, as for :func:`deletion_curve`.
        target: the explained classes; None means the predicted class of each unchanged image.
        patches: number of patches along each axis. If it does not divide the size of the images, the sizes of the
            patches differ by one pixel.
        deleted: function from images to images whose pixels replace those of the deleted patch.
        perturbations_per_eval: changed images in one forward pass.
        task: meaning of the model's output. The score is the logit, for a regression the value, and for a function its
            result.

    Returns:
        N values, −1 to 1, higher is better. A constant map gives 0, because it puts the patches in no order. NaN where
        no deletion changes the score, because there is nothing to compare the map with.

    Raises:
        CAMError: an argument does not fit, the batch is empty, or maps or scores contain NaN or Inf.

    Example::

        maps = cc.GradCAM(model).attribute(images, labels)
        print(metrics.single_deletion(model, images, maps, labels))
    """
    check_at_least("patches", patches, 2)
    maps = upsample(check_maps(inputs, maps), size_of(inputs))
    size = maps.shape[2:]
    if min(size) < patches:
        shape = "×".join(map(str, size))
        raise CAMError(f"patches must be at most the shortest side of the images, {shape}, got {patches}; pass fewer")
    number = torch.zeros(size, dtype=torch.long, device=maps.device)
    for axis, length in enumerate(size):
        along = torch.arange(length, device=maps.device) * patches // length
        number = number * patches + along.view(-1, *[1] * (len(size) - 1 - axis))

    def changes(images: Tensor, maps: Tensor) -> tuple[int, Change]:
        blank = deleted(images)

        def change(image: Tensor, version: Tensor) -> Tensor:
            gone = number == version.view(-1, 1, *[1] * len(size)) - 1  # version 0 is the unchanged image
            return torch.where(gone, blank[image], images[image])

        return patches ** len(size) + 1, change

    scores, _ = scores_of_changes(forward_func, inputs, maps, changes, perturbations_per_eval, task)
    score = of_class(scores, target, unchanged=scores[:, 0])
    values = maps.flatten(1).double()
    sums = values.new_zeros(len(values), patches ** len(size)).index_add_(1, number.flatten(), values)
    sums = sums * ~_constant(maps.flatten(1))[:, None]  # patches of other sizes have other sums
    found = rank_correlation(sums, score[:, :1] - score[:, 1:]).to(score)
    return found.masked_fill(_constant(score), torch.nan)


def calibration(
    forward_func: Forward,
    inputs: Tensor,
    maps: Tensor,
    target: Any = None,
    *,
    preset: str | Preset = "rise",
    perturbations_per_eval: int = 8,
    task: Task = "multiclass",
) -> Tensor:
    """Compare the values of the map with the drops of the probability in the single steps of the deletion curve.

    Gomez et al., "Metrics for saliency map evaluation of deep learning explanation methods", 2022, call it the deletion
    correlation (DC). The curve alone reads only the order of the pixels; this number reads the values, too.

    Args:
        forward_func: the model, which returns N×classes; its state does not change.
        inputs: images, signals or volumes, as for :func:`deletion_curve`.
        maps: explanations of the inputs, as for :func:`deletion_curve`.
        target: the explained classes; None means the predicted class of each unchanged image.
        preset: number of steps and replacement of the pixels: a name from ``PRESETS`` or a :class:`Preset`.
        perturbations_per_eval: changed images in one forward pass.
        task: meaning of the model's output, as for :func:`deletion_curve`.

    Returns:
        N values as from :func:`calibration_of_curve`.

    Raises:
        CAMError: in the same cases as :func:`deletion_curve`, or the curve has fewer than two steps.

    Example::

        maps = cc.GradCAM(model).attribute(images, labels)
        print(metrics.calibration(model, images, maps, labels, preset="quick"))
    """
    options: dict[str, Any] = {"perturbations_per_eval": perturbations_per_eval, "task": task}
    curve = deletion_curve(forward_func, inputs, maps, target, preset=preset, **options)
    return calibration_of_curve(curve, inputs, maps, preset=preset)


def calibration_of_curve(curve: Tensor, inputs: Tensor, maps: Tensor, *, preset: str | Preset = "rise") -> Tensor:
    """Compute :func:`calibration` from a deletion curve that is already known.

    It is Pearson's correlation, over the steps of the curve, of the mean map value of the pixels that a step removes
    with the drop of the probability in this step.

    Args:
        curve: N×(steps + 1), the result of :func:`deletion_curve` for these inputs and maps.
        inputs: the images; only their size matters.
        maps: the maps of which the curve was made.
        preset: the preset of the curve.

    Returns:
        N values, −1 to 1, higher is better. A constant map gives 0, because it promises the same for each step. NaN
        where the curve is constant, because there is nothing to compare the map with.

    Raises:
        CAMError: the shapes do not fit, or the curve has fewer than two steps.

    Example::

        maps = cc.GradCAM(model).attribute(images, labels)
        curves = metrics.deletion_curve(model, images, maps, labels, preset="quick")
        print(metrics.calibration_of_curve(curves, images, maps, preset="quick"))
    """
    values = minmax(upsample(check_maps(inputs, maps), size_of(inputs)).flatten(1), 1)
    counts = find_preset(preset).counts(values.shape[1]).long()
    if curve.shape != (len(values), len(counts)):
        raise CAMError(
            f"curve must be {len(values)}×{len(counts)} for these images and this preset, got {brief(curve)}; pass the "
            "preset with which the curve was made"
        )
    removed = counts.diff()
    steps = removed > 0  # an image with fewer pixels than steps has steps that remove nothing
    if int(steps.sum()) < 2:
        raise CAMError("calibration needs a curve with at least two steps, got one; pass a preset with more steps")
    ordered = values.double().sort(dim=1, descending=True).values
    sums = torch.nn.functional.pad(ordered.cumsum(1), (1, 0))[:, counts.to(values.device)].diff(dim=1)
    means = sums / removed.clamp(min=1).to(values.device)
    drops = -curve.diff(dim=1)
    found = correlation(means[:, steps.to(values.device)], drops[:, steps.to(drops.device)].to(means))
    return found.to(curve).masked_fill(_constant(curve), torch.nan)


def _constant(rows: Tensor) -> Tensor:
    """Whether each row has one value only, apart from rounding."""
    return minmax(rows, 1).amax(1) == 0
