"""Few masks of channels that tell every channel from every other."""

from functools import lru_cache
from itertools import combinations, count, islice
from math import comb

import torch
from torch import Tensor


@lru_cache(maxsize=32)
def separating_masks(channels: int) -> Tensor:
    """Boolean masks M×channels: for every two channels, one mask has the first on and the second off.

    Each channel is on in a set of M/2 masks of its own, and none of these sets contains another (Sperner, 1928).
    So M is as small as it can be: 14 for 2048 channels.
    """
    rows = next(m for m in count(1) if comb(m, m // 2) >= channels)
    on = torch.tensor(list(islice(combinations(range(rows), rows // 2), channels)), dtype=torch.long)
    return torch.zeros(channels, rows, dtype=torch.bool).scatter_(1, on.view(channels, rows // 2), True).T
