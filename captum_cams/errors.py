"""The exception of the package, and the checks that raise it."""

import difflib
import math
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any, TypeVar, get_args

import torch
from torch import Tensor, nn

_Value = TypeVar("_Value")


class CAMError(ValueError):
    """The error of this package: its message says what was expected, what came and what to do.

    Example::

        try:
            cc.create("gradcamm", model)
        except cc.CAMError as error:
            print(error)  # unknown CAM "gradcamm"; did you mean "gradcam" …
    """


def shape_of(tensor: Tensor) -> str:
    """Write a shape for a message: ``8×512×7×7``."""
    return "×".join(map(str, tensor.shape)) or "a scalar"


def near(name: str, known: Iterable[str]) -> str:
    """Write ``; did you mean "fdcam"?`` for a misspelt name, or nothing if no known name is similar."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.7)
    return "; did you mean " + " or ".join(f'"{match}"' for match in close) + "?" if close else ""


def lookup(kind: str, name: Any, known: Mapping[str, _Value], remedy: str = "") -> _Value:
    """Find the value of a name that the user gave.

    Args:
        kind: the kind of the value for the message, for example "preset".
        name: the name that the user gave.
        known: every allowed name with its value.
        remedy: the end of the message if no known name is similar; otherwise all names are listed.

    Raises:
        CAMError: the name is not known.
    """
    if isinstance(name, str) and name in known:
        return known[name]
    said = f'"{name}"' if isinstance(name, str) else brief(name)
    hint = near(str(name), known) or f"; {remedy or 'there are ' + ', '.join(known)}"
    raise CAMError(f"unknown {kind} {said}{hint}")


def brief(value: Any) -> str:
    """Write a value for a message, shortened if its ``repr`` is long."""
    if isinstance(value, Tensor):
        return f"a tensor {shape_of(value)}" if value.ndim else f"a tensor with {value.item()}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, nn.Module):
        return f"the module {type(value).__name__}"
    if type(value) in (list, tuple) and any(isinstance(item, Tensor | nn.Module | list | tuple) for item in value):
        kinds = ", ".join(dict.fromkeys(type(item).__name__ for item in value))
        return f"a {type(value).__name__} of {len(value)} ({kinds})"
    text = " ".join(repr(value).split())
    return text if len(text) <= 100 else f"{text[:99]}…"


def check_choice(name: str, value: Any, choices: Any) -> None:
    """Raise an error unless ``value`` is one of ``choices``: a ``Literal`` type, or the keys of a table."""
    allowed = list(get_args(choices) or choices)
    if value not in allowed:
        hint = near(str(value), map(str, allowed))
        raise CAMError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {brief(value)}{hint}")


def check_at_least(name: str, value: int, least: int) -> None:
    """Raise an error unless ``value`` is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        remedy = f"; pass int({name})" if isinstance(value, Integral) and int(value) >= least else ""
        raise CAMError(f"{name} must be an integer of at least {least}, got {brief(value)}{remedy}")


def check_positive(name: str, value: float) -> None:
    """Raise an error unless ``value`` is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise CAMError(f"{name} must be a finite number above 0, got {brief(value)}")


def check_finite(what: str, tensor: Tensor) -> None:
    """Raise an error if ``tensor`` contains NaN or Inf, and name the samples."""
    if torch.isfinite(tensor).all():
        return
    bad = [i for i, sample in enumerate(tensor) if not torch.isfinite(sample).all()]
    kind = "NaN" if torch.isnan(tensor).any() else "Inf"
    raise CAMError(
        f"{what} must be finite, got {kind} in sample{'s' * (len(bad) > 1)} {', '.join(map(str, bad[:8]))}; "
        "check the inputs and the weights of the model (a diverged training run gives NaN), "
        "and under mixed precision try float32"
    )


def check_tensor(name: str, value: Any, form: str) -> None:
    """Raise an error unless ``value`` is a tensor; ``form`` is the expected shape."""
    if isinstance(value, Tensor):
        return
    if hasattr(value, "__array_interface__"):
        remedy = f"; pass torch.from_numpy({name})"
    elif isinstance(value, list | tuple):
        remedy = f"; pass torch.stack({name}) or torch.tensor({name})"
    else:
        remedy = ""
    raise CAMError(f"{name} must be a tensor {form}, got {type(value).__name__}{remedy}")
