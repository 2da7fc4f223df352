"""A small set of channel masks that separates every channel from every other channel."""

from functools import lru_cache
from itertools import combinations, count, islice
from math import comb

import torch
from torch import Tensor


@lru_cache(maxsize=32)
def separating_masks(channels: int) -> Tensor:
    """Make boolean masks M×channels such that for every two channels, one mask keeps the first and drops the second.

    Each channel is kept by its own set of M/2 masks, and no set contains another set (Sperner, 1928). M is the
    smallest possible number: 14 for 2048 channels.
    """
    masks = next(m for m in count(1) if comb(m, m // 2) >= channels)
    on = torch.tensor(list(islice(combinations(range(masks), masks // 2), channels)), dtype=torch.long)
    return torch.zeros(channels, masks, dtype=torch.bool).scatter_(1, on.view(channels, masks // 2), True).T
