"""Random numbers that do not depend on the device, the order of the draws or the version of Python."""

import hashlib

import torch


def generator_of(seed: int, *which: int) -> torch.Generator:
    """Make the random generator of one draw.

    Its seed is the first eight bytes of the SHA-256 of all numbers, written as decimals with blanks between them.

    Args:
        seed: the user's seed.
        *which: the numbers that identify the draw, such as the sample and the step.

    Returns:
        A generator on the CPU, which is different for each combination of arguments.
    """
    digest = hashlib.sha256(" ".join(map(str, (seed, *which))).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))
