"""A data set as numbered batches, each of which is done once, by one process."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from captum_cams.errors import CAMError

NOTHING = -1
"""The number of no batch."""


class Batches(Dataset):
    """Item k is the k-th batch: its number, the indices of its images, why others of it cannot be read, and what the
    loader's ``collate_fn`` makes, or None where no image is left.

    Which images share a batch does not depend on the number of processes.

    Args:
        loader: whose data set, batch size, ``collate_fn`` and sampler (which images, not their order) are taken.
        indices: of the images.
        skip_unreadable: leave out the images that cannot be read, instead of raising.
    """

    def __init__(self, loader: DataLoader, indices: Sequence[int], skip_unreadable: bool = False) -> None:
        self.data, self.collate, self.skips = loader.dataset, loader.collate_fn, skip_unreadable
        size = int(loader.batch_size or getattr(loader.batch_sampler, "batch_size", None) or 1)
        self.parts = [list(indices[i : i + size]) for i in range(0, len(indices), size)]

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, k: int) -> tuple[int, list[int], dict[int, str], Any]:
        if k == NOTHING:
            return k, [], {}, None
        items: dict[int, Any] = {}
        unread: dict[int, str] = {}
        for index in self.parts[k]:
            item, reason = read(self.data, index, self.skips)
            if reason is None:
                items[index] = item
            else:
                unread[index] = reason
        return k, [*items], unread, self.collate([*items.values()]) if items else None


def read(data: Dataset, index: int, skip_unreadable: bool) -> tuple[Any, str | None]:
    """One item of a data set, or None and the reason in one line.

    Raises:
        CAMError: the item cannot be read, and is not to be left out.
    """
    try:
        return data[index], None
    except Exception as error:  # decoders, and the data sets of users, raise what they like
        reason = " ".join(str(error).split()) or type(error).__name__
        if skip_unreadable:
            return None, reason
        remedy = "" if isinstance(error, CAMError) else f" ({type(error).__name__})"
        raise CAMError(
            f"image {index} of the data cannot be read{remedy}: {reason}; mend it or leave it out, "
            "or pass skip_unreadable"
        ) from error


class Unrepeated(DistributedSampler):
    """Deal the batches to the processes, without the repetitions of its parent class.

    The finished ones come first: their images are read again, to be compared with those that were explained.
    """

    def __init__(self, batches: Batches, finished: set[int], world_size: int, rank: int) -> None:
        super().__init__(batches, world_size, rank, shuffle=False)
        left = [k for k in range(len(batches)) if k not in finished]
        # Lightning ends a process that has nothing to do, and with it all that wait for it.
        self.mine = [*sorted(finished)[rank::world_size], *left[rank::world_size]] or [NOTHING]

    def __iter__(self) -> Iterator[int]:
        return iter(self.mine)

    def __len__(self) -> int:
        return len(self.mine)


def share(loader: DataLoader, batches: Batches, finished: set[int], world_size: int, rank: int) -> DataLoader:
    """The loader of one process: the workers and the memory pinning of ``loader``, the batches dealt to ``rank``."""
    return DataLoader(
        batches,
        batch_size=None,
        sampler=Unrepeated(batches, finished, world_size, rank),
        num_workers=loader.num_workers,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=torch.Generator().manual_seed(0),  # else the loader draws from the global one
    )


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


def drawn(indices: Sequence[int], count: int | None, wanted: Callable[[int], bool]) -> list[int]:
    """The wanted indices, or ``count`` of them at random; the same ones in every run.

    Raises:
        CAMError: none is left.
    """
    order = torch.randperm(len(indices), generator=torch.Generator().manual_seed(0)).tolist()
    found: list[int] = []
    for place in order:
        if count is not None and len(found) == count:
            break
        if wanted(indices[place]):
            found.append(indices[place])
    if not found:
        raise CAMError(
            f"none of {len(indices)} images has what the protocol asks for, one annotated box or mask of at most half "
            'of the image; pass labels as a list of {"labels": ..., "boxes": ...}, or another protocol'
        )
    return sorted(found)
