"""Choose the pairs of image and class of a batch that are explained."""

from collections.abc import Sequence

from torch import Tensor

from captum_cams.errors import CAMError
from captum_cams.metrics.annotation import Annotation

Pairs = list[tuple[int, int]]
"""Positions of images in their batch, each with a class."""


def pairs_of(scores: Tensor, known: Sequence[Annotation], predicted: bool) -> list[Pairs]:
    """List the pairs of a batch, in parts of at most as many pairs as there are images.

    Args:
        scores: the scores of the images, N×classes.
        known: the annotation of each image.
        predicted: whether the predicted class of each image is explained, instead of its annotated classes.

    Raises:
        CAMError: a label is not a class of the scores.
    """
    if predicted:
        return [[*enumerate(scores.argmax(1).tolist())]]
    pairs, classes = [(i, index) for i, each in enumerate(known) for index in each.classes], scores.shape[1]
    if wrong := {index for _, index in pairs if not 0 <= index < classes}:
        raise CAMError(
            f"labels must be classes from 0 to {classes - 1}, got {sorted(wrong)}; translate them with batch_fn"
        )
    return [pairs[i : i + len(known)] for i in range(0, len(pairs), len(known))]
