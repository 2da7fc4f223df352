"""Explainers by name."""

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from captum_cams import errors
from captum_cams.argument_names import OF_CONSTRUCTORS, Called, check_kept, names_checked, options_of, refuse_option
from captum_cams.cost import Cost
from captum_cams.errors import CAMError, brief
from captum_cams.paper import Paper

# The classes extend CAMAttribution, which wrappers' base class and so this file cannot import.
_classes: dict[str, type[Any]] = {}
_Class = TypeVar("_Class", bound=type[Called])


# What other libraries call the methods that are here, and where those are that are not.
_ELSEWHERE = {
    "gradcampp": "gradcamplusplus",
    "smoothgradcampp": "smoothgradcamplusplus",
    "randomcam": "random",
    "layergradcam": "gradcam",
    "guidedgradcam": "guidedcam",
}
_ABSENT = {
    "fullgrad": "it is no class activation map; pytorch-grad-cam has FullGrad, and Captum other methods of its kind",
    "eigengradcam": "eigencam takes the first principal component of the activations alone",
    "gradcamelementwise": "hirescam multiplies elementwise, and layercam with the positive gradients alone",
    "kpcacam": "eigencam takes the principal component without a kernel",
    **{
        name.lower(): f"it is no class activation map; captum.attr.{name} is it"
        for name in (
            *("Saliency", "InputXGradient", "IntegratedGradients", "GuidedBackprop", "Deconvolution", "DeepLift"),
            *("DeepLiftShap", "GradientShap", "Occlusion", "FeatureAblation", "ShapleyValueSampling", "Lime"),
            *("KernelShap", "LayerConductance", "NoiseTunnel"),
        )
    },
}


def register(cls: _Class) -> _Class:
    """Class decorator: make the class known under its own name in lower case.

    Raises:
        CAMError: it is no finished class of an explainer, its ``cost`` is no :class:`Cost`, its ``paper`` neither a
            :class:`Paper` nor None, its constructor does not take the model and the layer, an argument of that is not
            keyword-only or kept under no attribute of its name, or the name of the class belongs to another one. The
            same class may be registered again, as notebooks do.
    """
    if not isinstance(cls, type) or not issubclass(cls, Called):
        raise CAMError(f"register takes a class that extends SpatialCAM or WeightedCAM, as GradCAM, got {brief(cls)}")
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise CAMError(f"{cls.__name__} must define {', '.join(missing)} before it is registered")
    _check_constants(cls)
    _check_constructor(cls)
    key = cls.__name__.lower()
    known = _classes.get(key, cls)
    if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise CAMError(
            f'the name "{key}" belongs to {known.__module__}.{known.__qualname__}; give your class another name'
        )
    _classes[key] = cls
    return cls


def _check_constants(cls: type[Any]) -> None:
    cost, paper = getattr(cls, "cost", None), getattr(cls, "paper", None)
    if not isinstance(cost, Cost):
        raise CAMError(
            f"{cls.__name__} must declare what an image costs, such as cost = Cost(gradients=1), got {brief(cost)}"
        )
    if not isinstance(paper, Paper | None):
        raise CAMError(
            f"the paper of {cls.__name__} must be a Paper(authors, title, venue, year, url) or None, got {brief(paper)}"
        )


def _check_constructor(cls: type[Any]) -> None:
    signature = inspect.signature(cls)
    try:
        signature.bind(None, layer=None)
    except TypeError as error:
        raise CAMError(
            f"the constructor of {cls.__name__} must be called as {cls.__name__}(forward_func, layer=…), with "
            "hyperparameters by name"
        ) from error
    for name in options_of(cls):
        one = signature.parameters.get(name)
        if one is not None and one.kind is not one.KEYWORD_ONLY:
            raise CAMError(
                f"{cls.__name__} must take its argument {name} by name only; write a * before it in the constructor"
            )
    try:
        made = cls(nn.Identity())
    except Exception:
        return  # the class may refuse this model, as any other that it cannot explain
    check_kept(made)


def names() -> list[str]:
    """The names of all explainers, sorted."""
    return sorted(_classes)


def wrappers() -> list[str]:
    """The names of the explainers that are built on another one, as in ``fgcam(scorecam)``."""
    return [name for name in names() if _classes[name].wraps]


def lookup(name: str) -> type[Any]:
    """The class with this name; ``Grad-CAM++`` is read as ``gradcamplusplus``.

    Raises:
        CAMError: there is no such explainer; near names are listed.
    """
    key = re.sub(r"[-_ ]", "", name.lower().replace("++", "plusplus"))
    key = _ELSEWHERE.get(key, key)
    if key in _ABSENT and key not in _classes:
        raise CAMError(f'unknown CAM "{name}"; {_ABSENT[key]}')
    return errors.lookup("CAM", key, _classes, f"captum_cams.names() lists the {len(_classes)} that are here")


def canonical(name: str) -> str:
    """The name as the registry spells it: ``fgcam(scorecam)`` for ``FG-CAM(Score-CAM)``.

    Raises:
        CAMError: unknown name.
    """
    outer, inner = _split(name)
    return lookup(outer).__name__.lower() + ("" if inner is None else f"({canonical(inner)})")


def _split(name: str) -> tuple[str, str | None]:
    if not isinstance(name, str):
        raise CAMError(f'a CAM is made by its name first, then the model: create("gradcam", model), got {brief(name)}')
    match = re.fullmatch(r"([^()]+)(?:\((.+)\))?", name.strip())
    if match is None:
        raise CAMError(f'a CAM\'s name must look like "gradcam" or "fgcam(gradcam)", got "{name}"')
    return match[1], match[2]


@names_checked(OF_CONSTRUCTORS)
def create(name: str, forward_func: Callable[..., Any], layer: Any = None, **options: Any) -> Any:
    """The explainer ``name`` for a model, a :class:`CAMAttribution`; ``options`` are the hyperparameters of its class.

    ``fgcam(scorecam)`` is FG-CAM over Score-CAM; each option goes to every class in the name that has it.

    Raises:
        CAMError: unknown name, a base for a class that takes none, or an option that no class in the name has.
    """
    outer, inner = _split(name)
    cls = lookup(outer)
    known = options_of(cls)
    own = {key: value for key, value in options.items() if key in known}
    rest = {key: value for key, value in options.items() if key not in known}
    if inner is None:
        for key in rest:
            refuse_option(cls, key)
        return cls(forward_func, layer=layer, **own)
    if not cls.wraps:
        raise CAMError(f'{cls.__name__} is built on no other CAM, got "{name}"; there are {", ".join(wrappers())}')
    shared = {key: value for key, value in own.items() if key in _options_within(inner)}
    return cls(forward_func, base=create(inner, forward_func, layer, **shared, **rest), **own)


def _options_within(name: str) -> set[str]:
    return set().union(*(options_of(lookup(part)) for part in re.findall(r"[^()]+", name)))
