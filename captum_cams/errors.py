"""The one exception of the package, and the checks that raise it."""

import difflib
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


class CAMError(ValueError):
    """An explanation cannot be made; the message says what was expected, what came and what to do."""


def shape_of(tensor: Tensor) -> str:
    """The shape as the messages print it: ``8×512×7×7``."""
    return "×".join(map(str, tensor.shape)) or "a scalar"


def near(name: str, known: Iterable[str]) -> str:
    """``; did you mean "fdcam"?`` for a misspelt name, or nothing."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.7)
    return "; did you mean " + " or ".join(f'"{one}"' for one in close) + "?" if close else ""


def check_choice(name: str, value: object, allowed: Iterable[object]) -> None:
    """Raise unless ``value`` is one of ``allowed``."""
    allowed = list(allowed)
    if value not in allowed:
        raise CAMError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def check_at_least(name: str, value: int, least: int) -> None:
    """Raise unless ``value`` is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise CAMError(f"{name} must be an integer of at least {least}, got {value!r}")


def check_finite(what: str, tensor: Tensor) -> None:
    """Raise if ``tensor`` holds NaN or Inf, and say which samples."""
    if torch.isfinite(tensor).all():
        return
    bad = [i for i, sample in enumerate(tensor) if not torch.isfinite(sample).all()]
    kind = "NaN" if torch.isnan(tensor).any() else "Inf"
    raise CAMError(
        f"{what} must be finite, got {kind} in sample{'s' * (len(bad) > 1)} {', '.join(map(str, bad[:8]))}; "
        "check the inputs and the weights of the model (a diverged training run gives NaN), "
        "and under mixed precision try float32"
    )


def check_batch(inputs: Sequence[Tensor]) -> int:
    """Raise unless every input is a tensor with the same non-empty batch axis; return the batch size."""
    for tensor in inputs:
        if not isinstance(tensor, Tensor):
            raise CAMError(f"inputs must be a tensor or a tuple of tensors, got {type(tensor).__name__}")
        if tensor.ndim == 0 or tensor.shape[0] == 0:
            raise CAMError(
                f"inputs must hold at least one sample (N×C×H×W), got {shape_of(tensor)}; skip empty batches"
            )
    sizes = {tensor.shape[0] for tensor in inputs}
    if len(sizes) != 1:
        raise CAMError(f"all inputs must have one batch size, got {sorted(sizes)}")
    return sizes.pop()
