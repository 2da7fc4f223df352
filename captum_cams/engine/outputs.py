"""Find the scores in what a network returns."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from captum_cams.errors import CAMError, shape_of

_NAMES = ("logits", "logits_per_image", "out")
"""The names that libraries give to scores: Hugging Face, its CLIP and SigLIP, and torchvision's segmenters."""


def scores_in(output: Any) -> Tensor | None:
    """Find the scores in the output of a network; None if this cannot be decided.

    The scores are the first of these that is there:

    - the output itself, if it is a tensor;
    - the entry "logits", "logits_per_image" or "out" of a mapping, a dataclass, a named tuple or another object;
    - the only tensor among the entries;
    - the first tensor of a tuple or list, if no other entry is a floating-point matrix, which could be scores as well.
    """
    if isinstance(output, Tensor):
        return output
    tensors = _tensors(output)
    named = next((tensors[name] for name in _NAMES if name in tensors), None)
    if named is not None:
        return named
    first = next(iter(tensors), None)
    if first is None or not (len(tensors) == 1 or (isinstance(output, list | tuple) and _likely(tensors) == [first])):
        return None
    return tensors[first]


def described(output: Any) -> str:
    """Write an output for a message: its type, and its entries, with the shapes of its tensors."""
    tensors = _tensors(output)
    entries = [f"{_key(output, name)} {shape_of(value)}" for name, value in tensors.items()]
    inside = ", ".join(entries or [_key(output, name) for name in _entries(output)])
    return type(output).__name__ + (f" with {inside}" if inside else "")


def entry_like_scores(output: Any) -> str | None:
    """Write how to read the last entry that could be scores, such as ``["main"]``; None if there is none."""
    likely = _likely(_tensors(output))
    return _key(output, likely[-1]) if likely else None


def reading(model: Callable[..., Any]) -> Callable[..., Tensor]:
    """Join the model and :func:`read_scores` into one function."""
    return lambda *args, **kwargs: read_scores(model(*args, **kwargs))


def read_scores(output: Any) -> Tensor:
    """Return the scores in the output of the model.

    Raises:
        CAMError: they cannot be told from its other entries, which the message lists.
    """
    scores = scores_in(output)
    if scores is None:
        entry = entry_like_scores(output)
        read = f"the scores alone, such as output{entry}," if entry else "the scores alone"
        raise CAMError(
            f"the model must return one tensor of scores, got {described(output)}; wrap it in a module whose forward "
            f"returns {read} or pass target=lambda output: one score per sample"
        )
    return scores


def _entries(output: Any) -> Mapping[Any, Any]:
    """The entries of an output by their names or numbers; none if it has no entries."""
    if isinstance(output, Mapping):
        return output
    if is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in fields(output)}
    if isinstance(output, list | tuple):
        return dict(zip(getattr(output, "_fields", range(len(output))), output, strict=True))
    return getattr(output, "__dict__", {})


def _tensors(output: Any) -> dict[Any, Tensor]:
    return {name: value for name, value in _entries(output).items() if isinstance(value, Tensor)}


def _likely(tensors: Mapping[Any, Tensor]) -> list[Any]:
    """The names of the tensors that could be scores N×classes."""
    return [name for name, value in tensors.items() if value.ndim == 2 and value.is_floating_point()]


def _key(output: Any, name: Any) -> str:
    """How an entry is read from the output: ``["main"]``, ``.main`` or ``[1]``."""
    if isinstance(name, str) and not isinstance(output, Mapping):
        return f".{name}"
    return f'["{name}"]' if isinstance(name, str) else f"[{name}]"
