"""Explainers by name."""

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


def lookup(name: str) -> type[CAMAttribution]:
    """The class with this name; ``Grad-CAM++`` is read as ``gradcamplusplus``.

    Raises:
        CAMError: there is no such explainer; near names are listed.
    """
    key = name.lower().replace("++", "plusplus").replace("-", "").replace("_", "").replace(" ", "")
    if key not in _classes:
        raise CAMError(f'unknown CAM "{name}"{near(key, _classes) or "; there are " + ", ".join(names())}')
    return _classes[key]


def create(name: str, forward_func: Callable[..., Any], layer: Any = None, **options: Any) -> CAMAttribution:
    """The explainer ``name`` for a model; ``options`` are the hyperparameters of its class.

    Raises:
        CAMError: unknown name, or an option that the class does not have.
    """
    cls = lookup(name)
    try:
        return cls(forward_func, layer, **options)
    except TypeError as error:
        raise CAMError(f"{cls.__name__}: {error}; see help(captum_cams.{cls.__name__})") from error
