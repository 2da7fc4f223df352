"""Choose the images that a protocol takes, in all processes together and without reading more than it needs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from pytorch_lightning import Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError, brief
from captum_cams.images import size_of
from captum_cams.metrics import region_mask
from captum_cams.metrics.annotation import Annotation
from lightning_callbacks.batches import BatchFn, annotations
from lightning_callbacks.evaluation.shares import Batches, NumberedBatch, read, share

LabelsOf = Callable[[int], Mapping[str, Any]]
"""From the index of an image to its labels, with boxes and the size of the image, or with masks."""
_UNWANTED, _WANTED, _UNREAD, _NONE = range(4)
_ROUND = 32


def has_single_small_box(known: Annotation, size: Sequence[int]) -> bool:
    """Whether an image has exactly one annotated box or mask, which covers at most half of it."""
    regions = list(known.regions.values())
    single = len(regions) == 1 and len(regions[0]) == 1
    return single and float(region_mask(regions[0], size).float().mean()) <= 0.5


def check_boxes(images: Tensor, known: Sequence[Annotation], indices: Sequence[int]) -> None:
    """Raise if an image was chosen by labels that differ from those in its batch."""
    for index, one in zip(indices, known, strict=True):
        if not has_single_small_box(one, size_of(images)):
            raise CAMError(
                f"labels_of says that image {index} has one box or mask of at most half of the image, but its batch "
                "says otherwise; let labels_of return what the network gets, after all transforms"
            )


@dataclass(frozen=True)
class Reader:
    """Finds the annotation of an image in a batch with this image alone.

    Args:
        batch_fn: function from a batch to (images, labels).
        task: the task that is measured.
    """

    batch_fn: BatchFn
    task: Task

    def wants(self, batch: NumberedBatch) -> bool:
        """Whether the image is taken."""
        images, labels = self.batch_fn(batch.content)
        return has_single_small_box(annotations(labels, 1, self.task)[0], size_of(images))


def _labelled(labels: Any, index: int) -> tuple[Annotation, Sequence[int]]:
    """The annotation of one image from ``labels_of``, with the size of the image.

    Raises:
        CAMError: the labels are no mapping, or have boxes without the size of the image.
    """
    if not isinstance(labels, Mapping) or "labels" not in labels:
        raise CAMError(
            f'labels_of must return a mapping with "labels" and "boxes" or "masks" as in the batches, got '
            f"{brief(labels)} for image {index}"
        )
    known = annotations([labels], 1)[0]
    size = labels.get("size")
    if size is None and labels.get("masks") is not None:
        masks = torch.as_tensor(labels["masks"])
        size = masks.shape if masks.ndim == 2 else masks.shape[1:]
    if size is None and known.regions:
        raise CAMError(
            f'labels_of must also return "size", height and width of the image that the network gets, got only '
            f"{', '.join(labels)} for image {index}"
        )
    return known, () if size is None else tuple(map(int, size))


def choose(
    loader: DataLoader,
    order: Sequence[int],
    count: int | None,
    source: LabelsOf | Reader,
    skip_unreadable: bool,
    trainer: Trainer,
) -> tuple[list[int], dict[int, str]]:
    """Find the first ``count`` images of an order that are wanted, or all of them.

    The processes and the workers of the loader share the reading. They agree after each round of images, so that the
    choice does not depend on their number.

    Args:
        loader: the loader of the data set.
        order: the indices of the images.
        count: how many are taken; None takes all.
        source: function from an index to the labels, which reads no image, or a reader of images.
        skip_unreadable: leave out images that cannot be read.
        trainer: the trainer, whose processes have started.

    Returns:
        The chosen indices; and index → reason, for the images before the last of them that cannot be read.

    Raises:
        CAMError: an image cannot be read, or no image is wanted.
    """
    world, rank = trainer.world_size, trainer.global_rank
    found, unread = list[int](), dict[int, str]()
    for start, states in _rounds(_states(loader, order, source, world, rank), len(order), trainer):
        for index, state in zip(order[start:], states, strict=False):
            if state == _UNREAD:
                _, reason = read(loader.dataset, index, skip_unreadable)  # each process raises the error
                unread[index] = reason or "could not be read when the images were chosen"
                if not skip_unreadable:
                    raise CAMError(
                        f"image {index} of the data {unread[index]}; repair it, or pass skip_unreadable=True"
                    )
            elif state == _WANTED:
                found.append(index)
            if len(found) == count:
                return found, unread
    if not found:
        raise CAMError(
            "the protocol needs images with one annotated box or mask of at most half of the image, but none of "
            f'{len(order)} images has one; pass labels as a list of {{"labels": ..., "boxes": ...}}, or '
            "choose another protocol"
        )
    return found, unread


def _rounds(mine: Iterator[int], length: int, trainer: Trainer) -> Iterator[tuple[int, list[int]]]:
    """The states of the next images of the order, from all processes, and where in the order they begin."""
    world = trainer.world_size
    for start in range(0, length, _ROUND * world):
        states = [*islice(mine, _ROUND)]
        padded = torch.tensor(states + [_NONE] * (_ROUND - len(states)), device=trainer.strategy.root_device)
        everyone = trainer.strategy.all_gather(padded).reshape(world, _ROUND)
        yield start, everyone.T.flatten().tolist()


def _states(
    loader: DataLoader,
    order: Sequence[int],
    source: LabelsOf | Reader,
    world: int,
    rank: int,
) -> Iterator[int]:
    """The state of each image of one process."""
    if not isinstance(source, Reader):
        for index in order[rank::world]:
            yield _WANTED if has_single_small_box(*_labelled(source(index), index)) else _UNWANTED
        return
    singles = Batches(loader, order, skip_unreadable=True, size=1)
    for batch in share(loader, singles, set(), world, rank):
        if batch.number is not None:
            yield _UNREAD if batch.unread else _WANTED if source.wants(batch) else _UNWANTED
