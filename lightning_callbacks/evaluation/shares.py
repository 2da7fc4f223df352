"""Divide a data set into numbered batches and distribute them over the processes."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from captum_cams.errors import CAMError

Shard = tuple[int, int]
"""(k, n): part k of n, counted from 0."""


class NumberedBatch(NamedTuple):
    """A batch of the data set with its number.

    Args:
        number: the number of the batch; None means that the process has nothing to do.
        indices: the indices of its images in the data set.
        unread: index → reason, for the images that cannot be read.
        content: the result of the loader's ``collate_fn``, or None if no image could be read.
    """

    number: int | None
    indices: list[int]
    unread: dict[int, str]
    content: Any


class Batches(Dataset):
    """A data set of batches: item k is batch k. The batches do not depend on the number of processes.

    Args:
        loader: the data loader that gives data set, batch size and ``collate_fn``.
        indices: the indices of the images.
        skip_unreadable: leave out images that cannot be read, instead of raising an error.
        shard: (k, n) takes every n-th batch from batch k on.
        size: number of images in a batch; None takes that of the loader.
    """

    def __init__(
        self,
        loader: DataLoader,
        indices: Sequence[int],
        skip_unreadable: bool = False,
        shard: Shard = (0, 1),
        size: int | None = None,
    ) -> None:
        self.data, self.collate, self.skips = loader.dataset, loader.collate_fn, skip_unreadable
        size = size or int(loader.batch_size or getattr(loader.batch_sampler, "batch_size", None) or 1)
        self.parts = [list(indices[i : i + size]) for i in range(0, len(indices), size)]
        k, n = shard
        self.numbers = range(k, len(self.parts), n)
        if not self.numbers:
            raise CAMError(
                f"each shard must have a batch, but there are only {len(self.parts)} for {n} shards; "
                "take fewer shards or smaller batches"
            )

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


def check_shard(shard: Shard) -> None:
    """Raise an error unless the shard is a pair (k, n) of integers with 0 ≤ k < n."""
    pair = isinstance(shard, tuple) and len(shard) == 2 and all(type(number) is int for number in shard)
    if not pair or not 0 <= shard[0] < shard[1]:
        raise CAMError(
            f"shard must be (k, n) with integers 0 ≤ k < n, such as (0, 4) for the first of four parts, got {shard!r}"
        )


def read(data: Dataset, index: int, skip_unreadable: bool) -> tuple[Any, str | None]:
    """Read one item of a data set; if it cannot be read and may be skipped, return None and the reason.

    Raises:
        CAMError: the item cannot be read and must not be skipped.
    """
    try:
        return data[index], None
    except Exception as error:  # decoders and data sets of users may raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        if skip_unreadable:
            return None, reason
        remedy = "" if isinstance(error, CAMError) else f" ({type(error).__name__})"
        raise CAMError(
            f"image {index} of the data cannot be read{remedy}: {reason}; repair or remove it, "
            "or pass skip_unreadable=True"
        ) from error


class Unrepeated(DistributedSampler):
    """Distribute the batches over the processes, without the repeated batches of the parent class.

    Finished batches come first: their images are read again and compared with the images that were explained.
    """

    def __init__(self, batches: Batches, finished: set[int], world_size: int, rank: int) -> None:
        super().__init__(batches, world_size, rank, shuffle=False)
        done = [k for k in batches.numbers if k in finished]
        left = [k for k in batches.numbers if k not in finished]
        mine: list[int | None] = [*done[rank::world_size], *left[rank::world_size]]
        # A process with an empty loader would run no epoch, and so would not take part in the gathering at its end.
        self.mine = mine or [None]

    def __iter__(self) -> Iterator[int | None]:
        return iter(self.mine)

    def __len__(self) -> int:
        return len(self.mine)


def share(loader: DataLoader, batches: Batches, finished: set[int], world_size: int, rank: int) -> DataLoader:
    """The data loader of one process, with its share of the batches and the workers of ``loader``."""
    return DataLoader(
        batches,
        batch_size=None,
        sampler=Unrepeated(batches, finished, world_size, rank),
        num_workers=loader.num_workers,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=torch.Generator().manual_seed(0),  # else the loader would use the global random state
    )
