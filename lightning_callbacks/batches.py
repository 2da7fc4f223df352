"""What a batch holds: images, and what is known of each."""

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
    """Images N×C×H×W and their labels, from what data loaders usually give.

    A tensor of images; a tuple, list, mapping or dataclass with images (or a list of C×H×W of one size) and labels;
    in a mapping or dataclass by the usual names ("image", "pixel_values", "x", ...; "label", "target", "y", ...), with
    "boxes" and "masks" beside them. Labels are N or N×1 integers, or zeros and ones of any type (the sides of a
    binary task), N×classes zeros and ones, or for each image a mapping with "labels" and "boxes" or "masks", as
    torchvision's detection references have it, or one mapping of them stacked; anything else counts as none.

    Raises:
        CAMError: no images; the remedy is ``batch_fn``.
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
    if isinstance(images, list | tuple) and images and all(isinstance(one, Tensor) for one in images):
        sizes = {one.shape for one in images}
        images = torch.stack(list(images)) if len(sizes) == 1 else None
    if not isinstance(images, Tensor) or images.ndim != 4:
        got = shape_of(images) if isinstance(images, Tensor) else type(batch).__name__
        raise CAMError(
            f"a batch must be images N×C×H×W, or a tuple or mapping with them, got {got}; "
            "pass batch_fn=lambda batch: (images, labels)"
        )
    return images, labels if _usable(labels, len(images)) else None


def out_of_range(images: Tensor) -> str | None:
    """What makes it doubtful that a network takes these images as they are, or None."""
    if not images.is_floating_point() or not images.numel() or images.amin() < 0 or not 32 < images.amax() <= 255:
        return None
    return (
        f"the images reach from {float(images.amin()):.3g} to {float(images.amax()):.3g} and are explained like that; "
        "if the steps scale or normalise them, pass batch_fn=lambda batch: (images as the network takes them, labels)"
    )


def annotations(labels: Labels, count: int, task: Task = "multiclass") -> list[Annotation]:
    """What the labels of ``count`` images say, one by one.

    Args:
        labels: as :func:`images_and_labels` returns them.
        count: of images.
        task: N×1 labels are those of one label in "multilabel", and classes otherwise.

    Raises:
        CAMError: there are not as many labels as images, or boxes or masks do not fit their labels.
    """
    if labels is None:
        return [Annotation()] * count
    if len(labels) != count:
        raise CAMError(f"there must be labels for each of {count} images, got {len(labels)}; check batch_fn")
    if isinstance(labels, Tensor) and labels.ndim == 2 and (labels.shape[1] > 1 or task == "multilabel"):
        return [Annotation(tuple(row.nonzero()[:, 0].tolist()), labelled=True) for row in labels]
    if isinstance(labels, Tensor):
        return [Annotation((int(label),), labelled=True) for label in labels]
    return [_annotation(one) for one in labels]


def _annotation(one: Mapping[str, Any]) -> Annotation:
    labels = torch.as_tensor(one["labels"]).cpu()
    key = next((key for key in ("boxes", "masks") if one.get(key) is not None), None)
    if key is None:
        return Annotation(tuple(dict.fromkeys(labels.flatten().tolist())), labelled=True)
    regions = torch.as_tensor(one[key]).cpu()
    regions = regions[None] if regions.ndim == (1 if key == "boxes" else 2) else regions
    if not len(regions):
        return Annotation(tuple(dict.fromkeys(labels.flatten().tolist())), labelled=True)
    labels = labels.expand(len(regions)) if labels.numel() == 1 else labels
    if labels.shape != regions.shape[:1]:
        raise CAMError(f"{key} and labels must have one length, got {len(regions)} and {shape_of(labels)}")
    classes = tuple(dict.fromkeys(labels.tolist()))
    shown = regions.flatten(1).any(1) if key == "masks" else (regions[:, 2:] > regions[:, :2]).all(1)
    found = {index: regions[(labels == index) & shown] for index in classes}
    return Annotation(classes, {index: one for index, one in found.items() if len(one)}, True)


def _per_image(fields: Mapping[str, Any], labels: Any) -> list[dict[str, Any]]:
    regions = {key: fields[key] for key in ("boxes", "masks") if key in fields}
    return [{"labels": one} | {key: every[i] for key, every in regions.items()} for i, one in enumerate(labels)]


def _usable(labels: Any, count: int) -> bool:
    if isinstance(labels, Tensor):
        return labels.shape[:1] == (count,) and (
            (labels.shape[1:] in ((), (1,)) and not labels.is_floating_point())
            or (labels.ndim in (1, 2) and bool(((labels == 0) | (labels == 1)).all()))
        )
    return (
        isinstance(labels, list | tuple)
        and len(labels) == count
        and all(isinstance(one, Mapping) and "labels" in one for one in labels)
    )
