"""What is known of a method without running it: its name in papers, its cost, what it needs, its hyperparameters."""

import inspect
import re
import sys
from typing import Any, NamedTuple

from captum_cams.argument_names import options_of
from captum_cams.cost import Cost, Count, named
from generate import docstrings


class Hyperparameter(NamedTuple):
    """A hyperparameter of a class, or of a class that it extends."""

    name: str
    default: str
    said: str
    declared_by: str


def paper_name(cls: type) -> str:
    """The name as papers write it, from the first line of the file of the class; else the name of the class."""
    line = (inspect.getdoc(sys.modules[cls.__module__]) or "").splitlines()[0].rstrip(".").partition(",")[0]
    return line if len(line.split()) <= 3 and not line.startswith("The ") else cls.__name__


GROUPS = (
    "With a gradient",
    "With one forward pass",
    "With runs of the layers after the explained one",
    "With runs on changed images",
    "By relevance",
    "For transformers",
    "Wrappers",
    "Baselines",
)


def group(cls: Any) -> str:
    """The kind of a method, one of ``GROUPS``, by what it costs and what it reads."""
    cost: Cost = cls.cost
    if cls.wraps:
        return "Wrappers"
    if cls.__name__ in ("Random", "Centre", "Constant"):
        return "Baselines"
    if getattr(cls, "needs_attention", False) or getattr(cls, "needs_tokens", False):
        return "For transformers"
    if "relevance" in (inspect.getdoc(cls) or "").lower():
        return "By relevance"
    if _on_changed_images(cost):
        return "With runs on changed images"
    if cost.behind != 0:
        return "With runs of the layers after the explained one"
    return "With a gradient" if cost.gradients != 0 else "With one forward pass"


def needs(cls: Any) -> list[str]:
    """What a method needs, in whole words."""
    gradient = cls.cost.gradients != 0
    found = ["a gradient" if gradient else "the base's needs" if cls.wraps else "no gradient"]
    if getattr(cls, "needs_curvature", False):
        found.append("a second derivative")
    if getattr(cls, "needs_classifier", False):
        found.append("a last linear or convolutional layer that makes the scores")
    if getattr(cls, "needs_attention", False):
        found.append("attention")
    if getattr(cls, "needs_tokens", False):
        found.append("the tokens of a transformer")
    if _on_changed_images(cls.cost):
        found.append("many runs on changed images")
    return found


def _on_changed_images(cost: Cost) -> bool:
    """Whether the whole network runs more often than once for each layer that is explained."""
    return isinstance(cost.whole, Count) and cost.whole != named("layers")


def hyperparameters(cls: type) -> list[Hyperparameter]:
    """All hyperparameters with their defaults; what is said about one comes from the class that declares it."""
    defaults = options_of(cls)
    found = []
    for name, default in defaults.items():
        owner = next((one for one in cls.__mro__ if name in docstrings.arguments(one)), cls)
        said = docstrings.arguments(owner).get(name, "")
        while pointed := re.fullmatch(r"see :class:`(\w+)`\.", said):
            owner = next(one for one in _all_classes() if one.__name__ == pointed[1])
            said = docstrings.arguments(owner).get(name, "")
        found.append(Hyperparameter(name, _written(default), said, owner.__name__))
    return found


def _all_classes() -> list[type]:
    import captum_cams

    return [value for value in vars(captum_cams).values() if inspect.isclass(value)]


def _written(default: Any) -> str:
    if default is inspect.Parameter.empty:
        return "must be given"
    if isinstance(default, str):
        return f'``"{default}"``'
    if callable(default):
        return f"``{getattr(default, '__name__', default)}``"
    return f"``{default}``"
