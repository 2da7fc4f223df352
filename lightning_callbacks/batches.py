"""Read the images of a batch, and the annotation of each image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor

from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError, shape_of
from captum_cams.metrics.annotation import Annotation

Labels = Tensor | Sequence[Mapping[str, Any]] | None
BatchFn = Callable[[Any], tuple[Tensor, Labels]]

_IMAGES = ("image", "images", "pixel_values", "img", "x", "input", "inputs")
_LABELS = ("label", "labels", "y", "target", "targets")


def images_and_labels(batch: Any) -> tuple[Tensor, Labels]:
    """Find the images and the labels in a batch; this is the default ``batch_fn`` of the callback and of ``evaluate``.

    Args:
        batch: one of these:

            - a tensor of images;
            - a tuple or list that begins with images and labels;
            - a mapping or dataclass with images under a usual name ("image", "pixel_values", "x", ...) and labels under
              a usual name ("label", "target", "y", ...), and perhaps "boxes" or "masks".

            Images are N×C×H×W, volumes or clips N×C×D×H×W, or a list of C×H×W tensors of one size. Labels are:

            - N or N×1 integers, or zeros and ones of any type (for a binary task);
            - N×classes zeros and ones (for a multilabel task);
            - for each image, a mapping with "labels" and "boxes" or "masks", as in torchvision's detection references,
              or one mapping with these values stacked.

    Returns:
        The images N×C×H×W or N×C×D×H×W, and their labels. The labels are None if the batch has none or their form is
        another one.

    Raises:
        CAMError: no images were found; then pass your own ``batch_fn``.

    Example::

        batch = {"image": images, "label": labels}
        found_images, found_labels = lightning_callbacks.images_and_labels(batch)
    """
    fields = vars(batch) if is_dataclass(batch) and not isinstance(batch, type) else batch
    if isinstance(fields, Mapping):
        images = next((fields[key] for key in _IMAGES if key in fields), None)
        labels = next((fields[key] for key in _LABELS if key in fields), None)
        if labels is not None and ("boxes" in fields or "masks" in fields):
            labels = _per_image(fields, labels)
    else:
        parts = fields if isinstance(fields, list | tuple) else (fields,)
        images, labels = (parts[0] if parts else None), (parts[1] if len(parts) > 1 else None)
        if isinstance(labels, Mapping) and "labels" in labels:
            labels = _per_image(labels, labels["labels"])
    if isinstance(images, list | tuple) and images and all(isinstance(image, Tensor) for image in images):
        sizes = {image.shape for image in images}
        images = torch.stack(list(images)) if len(sizes) == 1 else None
    if not isinstance(images, Tensor) or images.ndim not in (4, 5):
        got = shape_of(images) if isinstance(images, Tensor) else type(batch).__name__
        raise CAMError(
            f"a batch must be images N×C×H×W (volumes N×C×D×H×W), or a tuple or mapping that has them, got {got}; "
            "pass batch_fn=lambda batch: (images, labels), which returns the images and labels of your batch"
        )
    return images, labels if _usable(labels, len(images)) else None


def out_of_range(images: Tensor) -> str | None:
    """A warning if the images have the range 0…255, which networks seldom take, or None."""
    if not images.is_floating_point() or not images.numel() or images.amin() < 0 or not 32 < images.amax() <= 255:
        return None
    return (
        f"the values of the images are {float(images.amin()):.3g} to {float(images.amax()):.3g}, and the images are "
        "explained without scaling; if your steps scale or normalise them, pass "
        "batch_fn=lambda batch: (images as the network takes them, labels)"
    )


def annotations(labels: Labels, count: int, task: Task = "multiclass") -> list[Annotation]:
    """Make an annotation for each image from the labels of a batch.

    Args:
        labels: as :func:`images_and_labels` returns them.
        count: the number of images.
        task: with "multilabel", N×1 labels say whether the only label is present; otherwise they are classes.

    Raises:
        CAMError: the number of labels differs from the number of images, or boxes or masks do not fit their labels.
    """
    if labels is None:
        return [Annotation()] * count
    if len(labels) != count:
        raise CAMError(f"there must be labels for each of the {count} images, got {len(labels)}; check batch_fn")
    if isinstance(labels, Tensor) and labels.ndim == 2 and (labels.shape[1] > 1 or task == "multilabel"):
        return [Annotation(tuple(row.nonzero()[:, 0].tolist()), labelled=True) for row in labels]
    if isinstance(labels, Tensor):
        return [Annotation((int(label),), labelled=True) for label in labels]
    return [_annotation(fields) for fields in labels]


def _annotation(fields: Mapping[str, Any]) -> Annotation:
    """The annotation in a mapping with "labels" and perhaps "boxes" or "masks"."""
    labels = torch.as_tensor(fields["labels"]).cpu()
    key = next((key for key in ("boxes", "masks") if fields.get(key) is not None), None)
    if key is None:
        return Annotation(tuple(dict.fromkeys(labels.flatten().tolist())), labelled=True)
    regions = torch.as_tensor(fields[key]).cpu()
    regions = regions[None] if regions.ndim == (1 if key == "boxes" else 2) else regions
    if not len(regions):
        return Annotation(tuple(dict.fromkeys(labels.flatten().tolist())), labelled=True)
    labels = labels.expand(len(regions)) if labels.numel() == 1 else labels
    if labels.shape != regions.shape[:1]:
        raise CAMError(
            f"{key} and labels must have the same length, got {len(regions)} and {shape_of(labels)}; check batch_fn"
        )
    classes = tuple(dict.fromkeys(labels.tolist()))
    shown = regions.flatten(1).any(1) if key == "masks" else (regions[:, 2:] > regions[:, :2]).all(1)
    found = {index: regions[(labels == index) & shown] for index in classes}
    return Annotation(classes, {index: some for index, some in found.items() if len(some)}, True)


def _per_image(fields: Mapping[str, Any], labels: Any) -> list[dict[str, Any]]:
    """A mapping for each image, from one mapping of stacked values."""
    regions = {key: fields[key] for key in ("boxes", "masks") if key in fields}
    return [{"labels": each} | {key: every[i] for key, every in regions.items()} for i, each in enumerate(labels)]


def _usable(labels: Any, count: int) -> bool:
    """Whether the labels of ``count`` images have a form that :func:`annotations` understands."""
    if isinstance(labels, Tensor):
        return labels.shape[:1] == (count,) and (
            (labels.shape[1:] in ((), (1,)) and not labels.is_floating_point())
            or (labels.ndim in (1, 2) and bool(((labels == 0) | (labels == 1)).all()))
        )
    return (
        isinstance(labels, list | tuple)
        and len(labels) == count
        and all(isinstance(each, Mapping) and "labels" in each for each in labels)
    )
