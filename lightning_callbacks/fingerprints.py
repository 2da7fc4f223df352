"""What makes two evaluations the same: descriptions and hashes that do not change from one process to the next."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams import CAMAttribution


def of_weights(model: nn.Module) -> str:
    """A hash of all parameters and buffers."""
    return of_data(dict(model.state_dict()))


def of_data(value: Any) -> str:
    """A hash of tensors in any nesting of containers; anything else counts by its ``repr``."""
    found = hashlib.sha256()
    _feed(found, value)
    return found.hexdigest()


def described(value: Any, names: Mapping[nn.Module, str]) -> Any:
    """A value as JSON takes it: modules by their name in the network, functions by theirs, explainers by their options.

    Args:
        value: anything.
        names: of the modules.
    """
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, nn.Module):
        return names.get(value, type(value).__name__)
    if isinstance(value, CAMAttribution):
        options = {key: one for key, one in vars(value).items() if key not in ("forward_func", "device_ids")}
        return {"class": type(value).__name__} | {key: described(one, names) for key, one in options.items()}
    if isinstance(value, Mapping):
        return {str(key): described(one, names) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [described(one, names) for one in value]
    if isinstance(value, partial):
        return [described(value.func, names), described(value.args, names), described(value.keywords, names)]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: described(getattr(value, field.name), names) for field in fields(value)}
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def _feed(found: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        found.update(f"{value.dtype} {tuple(value.shape)}".encode())
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    elif isinstance(value, Mapping):
        for key, one in value.items():
            found.update(str(key).encode())
            _feed(found, one)
    elif isinstance(value, list | tuple):
        for one in value:
            _feed(found, one)
    elif isinstance(value, str | int | float | None):
        found.update(repr(value).encode())
