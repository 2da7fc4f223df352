"""Errors that mean that there was no memory left."""

import torch


def is_memory(error: BaseException) -> bool:
    """Whether a device, or the CPU, had no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
