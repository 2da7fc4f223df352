"""Choose the images of a data set that are evaluated."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from captum_cams.errors import CAMError


def as_loader(data: Any) -> DataLoader:
    """Make a data loader with batches of eight from a data set; a data loader is returned as it is.

    Raises:
        CAMError: the data is neither a data set nor a data loader, or has no length.
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
    """The indices of the images that the sampler of the loader gives, each once, in the order of the data set.

    Raises:
        CAMError: there are no images.
    """
    sampler = loader.sampler if loader.batch_size else getattr(loader.batch_sampler, "sampler", None)
    count = len(loader.dataset)  # type: ignore[arg-type]
    if isinstance(sampler, SequentialSampler | DistributedSampler) or (
        isinstance(sampler, RandomSampler) and sampler.num_samples == count and not sampler.replacement
    ):
        indices = list(range(count))
    else:
        torch.manual_seed(0)  # every process gets the same images; evaluate restores the random state
        indices = sorted({*(chain(*loader.batch_sampler) if sampler is None else sampler)})  # type: ignore[misc]
    if not len(indices):
        raise CAMError("the data set must have at least one image, got none; check its folder or its sampler")
    return indices


def draw(indices: Sequence[int]) -> list[int]:
    """Bring the indices into a random order, which is the same in every run.

    The first images of this order are a sample; a larger sample has all images of a smaller sample.
    """
    order = torch.randperm(len(indices), generator=torch.Generator().manual_seed(0)).tolist()
    return [indices[position] for position in order]
