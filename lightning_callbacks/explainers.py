"""Explainers as users name them: by name, made beforehand, or under a name of their own."""

from collections.abc import Mapping, Sequence

from torch import nn

from captum_cams import CAMAttribution, CAMError, create
from captum_cams.registry import canonical

Method = str | CAMAttribution
Methods = Method | Sequence[Method] | Mapping[str, Method]


def named(methods: Methods) -> dict[str, Method]:
    """Each method under its name: as the registry spells it, the class's, or the key of a mapping.

    Raises:
        CAMError: no method, an unknown one, or two of one name.
    """
    if isinstance(methods, Mapping):
        names, listed = list(methods), list(methods.values())
    else:
        listed = list(methods) if isinstance(methods, Sequence) and not isinstance(methods, str) else [methods]
        names = [canonical(one) if isinstance(one, str) else type(one).__name__.lower() for one in listed]
    for one in listed:
        if not isinstance(one, str | CAMAttribution):
            raise CAMError(
                f"a method must be a name of captum_cams.names() or an explainer of captum_cams, got "
                f"{getattr(one, '__name__', type(one).__name__)}; captum_cams.metrics measures the maps of others"
            )
    found = dict(zip(names, listed, strict=True))
    if len(found) < len(listed):
        raise CAMError(f"each method must have a name of its own, got {names}; pass a mapping of name to method")
    if not found:
        raise CAMError("there must be at least one method, got none")
    return found


def make(method: Method, network: nn.Module, layer: str | None) -> CAMAttribution:
    """The explainer itself, or the one with this name for a :class:`Network`."""
    if isinstance(method, CAMAttribution):
        return method
    return create(method, network, None if layer is None else f"network.{layer}")
