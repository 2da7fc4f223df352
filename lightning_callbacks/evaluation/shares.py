"""A data set as numbered batches, each of which is done once, by one process."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from captum_cams.errors import CAMError


class NumberedBatch(NamedTuple):
    """A batch of the data set, as :class:`Batches` reads it.

    Args:
        number: of the batch, or None where a process has nothing to do.
        indices: of its images in the data set.
        unread: index → reason, of the images that cannot be read.
        content: what the loader's ``collate_fn`` makes, or None where no image is left.
    """

    number: int | None
    indices: list[int]
    unread: dict[int, str]
    content: Any


class Batches(Dataset):
    """Item k is the k-th batch; which images share a batch does not depend on the number of processes.

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

    def __getitem__(self, k: int | None) -> NumberedBatch:
        if k is None:
            return NumberedBatch(None, [], {}, None)
        items: dict[int, Any] = {}
        unread: dict[int, str] = {}
        for index in self.parts[k]:
            item, reason = read(self.data, index, self.skips)
            if reason is None:
                items[index] = item
            else:
                unread[index] = reason
        return NumberedBatch(k, [*items], unread, self.collate([*items.values()]) if items else None)


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
        mine: list[int | None] = [*sorted(finished)[rank::world_size], *left[rank::world_size]]
        # Lightning runs no epoch, and so no gathering at its end, in a process whose loader is empty.
        self.mine = mine or [None]

    def __iter__(self) -> Iterator[int | None]:
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
