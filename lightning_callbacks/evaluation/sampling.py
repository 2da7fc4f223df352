"""Which images of a data set are evaluated."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from captum_cams.errors import CAMError


def as_loader(data: Any) -> DataLoader:
    """A data loader as it is, and a data set in batches of eight.

    Raises:
        CAMError: neither, or without a length.
    """
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        data = DataLoader(data, batch_size=8)
    whole = isinstance(data, DataLoader) and data.batch_size is None and data.batch_sampler is None
    if whole or not isinstance(data, DataLoader) or isinstance(data.dataset, IterableDataset):
        got = type(data.dataset if isinstance(data, DataLoader) else data).__name__
        raise CAMError(
            f"the data must be a DataLoader or a Dataset with a length and an index, so that each image counts exactly "
            f"once, got {got}{' with batch_size=None' * whole}; wrap tensors in torch.utils.data.TensorDataset"
        )
    return data


def indices_of(loader: DataLoader) -> list[int]:
    """The images that the loader's sampler gives, each once, in the order of the data set.

    Raises:
        CAMError: there are none.
    """
    sampler = loader.sampler if loader.batch_size else getattr(loader.batch_sampler, "sampler", None)
    count = len(loader.dataset)  # type: ignore[arg-type]
    if isinstance(sampler, SequentialSampler | DistributedSampler) or (
        isinstance(sampler, RandomSampler) and sampler.num_samples == count and not sampler.replacement
    ):
        indices = list(range(count))
    else:
        torch.manual_seed(0)  # within evaluate's own random state: the same images on every process
        indices = sorted({*(chain(*loader.batch_sampler) if sampler is None else sampler)})  # type: ignore[misc]
    if not len(indices):
        raise CAMError("the data set must hold at least one image, got none")
    return indices


def draw(indices: Sequence[int], count: int | None, wanted: Callable[[int], bool]) -> list[int]:
    """The wanted indices, or ``count`` of them at random; the same ones in every run.

    Raises:
        CAMError: none is left.
    """
    order = torch.randperm(len(indices), generator=torch.Generator().manual_seed(0)).tolist()
    found: list[int] = []
    for position in order:
        if count is not None and len(found) == count:
            break
        if wanted(indices[position]):
            found.append(indices[position])
    if not found:
        raise CAMError(
            f"none of {len(indices)} images has what the protocol asks for, one annotated box or mask of at most half "
            'of the image; pass labels as a list of {"labels": ..., "boxes": ...}, or another protocol'
        )
    return sorted(found)
