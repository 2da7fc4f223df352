"""Explainers by name."""

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

from captum_cams.attribution import CAMAttribution
from captum_cams.errors import CAMError, near

_classes: dict[str, type[CAMAttribution]] = {}
_Class = TypeVar("_Class", bound=type[CAMAttribution])


def register(cls: _Class) -> _Class:
    """Class decorator: make the class known under its own name in lower case."""
    _classes[cls.__name__.lower()] = cls
    return cls


def names() -> list[str]:
    """The names of all explainers, sorted."""
    return sorted(_classes)


def wrappers() -> list[str]:
    """The names of the explainers that are built on another one, as in ``fgcam(scorecam)``."""
    return [name for name in names() if "base" in _options(_classes[name])]


def lookup(name: str) -> type[CAMAttribution]:
    """The class with this name; ``Grad-CAM++`` is read as ``gradcamplusplus``.

    Raises:
        CAMError: there is no such explainer; near names are listed.
    """
    key = name.lower().replace("++", "plusplus").replace("-", "").replace("_", "").replace(" ", "")
    if key not in _classes:
        raise CAMError(f'unknown CAM "{name}"{near(key, _classes) or "; there are " + ", ".join(names())}')
    return _classes[key]


def canonical(name: str) -> str:
    """The name as the registry spells it: ``fgcam(scorecam)`` for ``FG-CAM(Score-CAM)``.

    Raises:
        CAMError: unknown name.
    """
    outer, inner = _split(name)
    return lookup(outer).__name__.lower() + ("" if inner is None else f"({canonical(inner)})")


def _split(name: str) -> tuple[str, str | None]:
    match = re.fullmatch(r"([^()]+)(?:\((.+)\))?", name.strip())
    if match is None:
        raise CAMError(f'a CAM\'s name must look like "gradcam" or "fgcam(gradcam)", got "{name}"')
    return match[1], match[2]


def create(name: str, forward_func: Callable[..., Any], layer: Any = None, **options: Any) -> CAMAttribution:
    """The explainer ``name`` for a model; ``options`` are the hyperparameters of its class.

    ``fgcam(scorecam)`` is FG-CAM over Score-CAM; each option goes to every class in the name that has it.

    Raises:
        CAMError: unknown name, a base for a class that takes none, or an option that no class in the name has.
    """
    outer, inner = _split(name)
    cls = lookup(outer)
    known = _options(cls)
    own = {key: value for key, value in options.items() if key in known}
    rest = {key: value for key, value in options.items() if key not in known}
    if inner is None:
        if rest:
            key = next(iter(rest))
            hint = near(key, known) or f"; it has {', '.join(sorted(known)) or 'none'}"
            raise CAMError(f'{cls.__name__} has no option "{key}"{hint}')
        return _build(cls, forward_func, layer=layer, **own)
    if "base" not in known:
        raise CAMError(f'{cls.__name__} is built on no other CAM, got "{name}"; there are {", ".join(wrappers())}')
    shared = {key: value for key, value in own.items() if key in _options_within(inner)}
    return _build(cls, forward_func, base=create(inner, forward_func, layer, **shared, **rest), **own)


def _build(cls: Callable[..., CAMAttribution], *args: Any, **options: Any) -> CAMAttribution:
    return cls(*args, **options)  # a wrapper's constructor takes more than the abstract one


def _options_within(name: str) -> set[str]:
    return set().union(*(_options(lookup(part)) for part in re.findall(r"[^()]+", name)))


def _options(cls: type[CAMAttribution]) -> set[str]:
    """The hyperparameters: what the constructors take beside the model and the layer."""
    return {
        key
        for base in cls.__mro__
        if issubclass(base, CAMAttribution) and "__init__" in vars(base)
        for key, parameter in inspect.signature(base).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    } - {"forward_func", "layer", "device_ids"}
