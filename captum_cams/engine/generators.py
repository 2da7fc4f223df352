"""Random numbers that are the same wherever and in whatever order they are drawn."""

import hashlib

import torch


def generator_of(seed: int, *which: int) -> torch.Generator:
    """A generator for one draw of many: another one for each ``seed`` and each ``which``.

    It is seeded with the first eight bytes of the SHA-256 of the numbers, written in decimals with blanks between them,
    and so gives the same numbers with every version of Python.
    """
    digest = hashlib.sha256(" ".join(map(str, (seed, *which))).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))
