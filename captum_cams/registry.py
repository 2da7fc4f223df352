"""The explainers by their names."""

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from captum_cams import errors
from captum_cams.argument_names import OF_CONSTRUCTORS, Called, check_kept, names_checked, options_of, refuse_option
from captum_cams.cost import Cost
from captum_cams.errors import CAMError, brief
from captum_cams.paper import Paper, joined_title

# The classes extend CAMAttribution, but this file cannot import it: the base class of wrappers imports this file.
_classes: dict[str, type[Any]] = {}
_Class = TypeVar("_Class", bound=type[Called])


# The names that other libraries give to our methods, and where users find methods that we do not have.
_ELSEWHERE = {
    "gradcampp": "gradcamplusplus",
    "smoothgradcampp": "smoothgradcamplusplus",
    "randomcam": "random",
    "layergradcam": "gradcam",
    "guidedgradcam": "guidedcam",
}
_ABSENT = {
    "refinecam": 'it is MultiLayerCAM(model, base="gradcamplusplus", layers=[…], fusion="product")',
    **{
        name.lower(): f"it is no class activation map; use captum.attr.{name}"
        for name in (
            *("Saliency", "InputXGradient", "IntegratedGradients", "GuidedBackprop", "Deconvolution", "DeepLift"),
            *("DeepLiftShap", "GradientShap", "Occlusion", "FeatureAblation", "ShapleyValueSampling", "Lime"),
            *("KernelShap", "LayerConductance", "NoiseTunnel"),
        )
    },
}


def register(cls: _Class) -> _Class:
    """Make a class of explainers known by its name in lower case, as a class decorator.

    :func:`names`, :func:`create`, the callback, ``evaluate`` and the command line then know the class. The same class
    may be registered again, as notebooks do.

    Args:
        cls: a class without abstract methods that extends :class:`CAMAttribution`. Its ``cost`` is a :class:`Cost`, its
            ``paper`` a :class:`Paper` or None. Its constructor takes the model and the layer, and every hyperparameter
            by keyword only, and keeps each in an attribute of the same name.

    Returns:
        The class, unchanged.

    Raises:
        CAMError: the class does not fulfil one of these conditions, or another class has its name.

    Example::

        @cc.register
        class MeanActivation(cc.WeightedCAM):
            cost = cc.Cost()

            def weights(self, seen):
                return seen.activation.flatten(2).mean(2)

        maps = cc.create("meanactivation", model, "layer4").attribute(images)
    """
    if not isinstance(cls, type) or not issubclass(cls, Called):
        raise CAMError(f"register needs a class that extends SpatialCAM or WeightedCAM, like GradCAM, got {brief(cls)}")
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
    """Raise an error unless ``cost`` and ``paper`` have the right types."""
    cost, paper = getattr(cls, "cost", None), getattr(cls, "paper", None)
    if not isinstance(cost, Cost):
        raise CAMError(
            f"{cls.__name__} must declare its cost for one image, such as cost = Cost(gradients=1), got {brief(cost)}"
        )
    if not isinstance(paper, Paper | None):
        raise CAMError(
            f"the paper of {cls.__name__} must be a Paper(authors, title, venue, year, url) or None, got {brief(paper)}"
        )


def _check_constructor(cls: type[Any]) -> None:
    """Raise an error unless the constructor takes and keeps its arguments as :func:`register` demands."""
    signature = inspect.signature(cls)
    try:
        signature.bind(None, layer=None)
    except TypeError as error:
        raise CAMError(
            f"the constructor of {cls.__name__} must be called as {cls.__name__}(forward_func, layer=…), with "
            "hyperparameters by name"
        ) from error
    for name in options_of(cls):
        parameter = signature.parameters.get(name)
        if parameter is not None and parameter.kind is not parameter.KEYWORD_ONLY:
            raise CAMError(
                f"{cls.__name__} must take its argument {name} by name only, got an argument that also has a position; "
                "write a * before it in the constructor"
            )
    try:
        made = cls(nn.Identity())
    except Exception:
        return  # the class may refuse a model that it cannot explain
    check_kept(made)


def names() -> list[str]:
    """List the names of all explainers.

    Returns:
        The names, in alphabetical order.

    Example::

        >>> cc.names()[:3]
        ['ablationcam', 'attentionrollout', 'augmentedcam']
    """
    return sorted(_classes)


def wrappers() -> list[str]:
    """List the names of the wrappers, which take a base: ``fgcam(scorecam)``."""
    return [name for name in names() if _classes[name].wraps]


def lookup(name: str) -> type[Any]:
    """Find the class with this name; ``Grad-CAM++`` is read as ``gradcamplusplus``.

    Raises:
        CAMError: no explainer has this name; the message lists similar names.
    """
    key = re.sub(r"[-_ ]", "", name.lower().replace("++", "plusplus"))
    key = _ELSEWHERE.get(key, key)
    if key in _ABSENT and key not in _classes:
        raise CAMError(f'unknown CAM "{name}"; {_ABSENT[key]}')
    return errors.lookup("CAM", key, _classes, f"captum_cams.names() lists the {len(_classes)} known names")


def canonical(name: str) -> str:
    """Spell a name as the registry does: ``fgcam(scorecam)`` for ``FG-CAM(Score-CAM)``.

    Raises:
        CAMError: no explainer has this name.
    """
    outer, inner = _split(name)
    return lookup(outer).__name__.lower() + ("" if inner is None else f"({canonical(inner)})")


def title(name: str) -> str:
    """Write the name of a method as its paper does: ``FG-CAM over Grad-CAM`` for ``fgcam(gradcam)``.

    Args:
        name: a name in the registry as :func:`canonical` spells it, or any other text.

    Returns:
        The title; a text that is no name in the registry stays as it is.

    Example::

        print(cc.title("gradcamplusplus"), cc.title("my own"))  # Grad-CAM++ my own
    """
    match = re.fullmatch(r"([^()]+)(?:\((.+)\))?", name)
    cls = _classes.get(match[1]) if match else None
    if match is None or cls is None or (match[2] and not cls.wraps):
        return name
    inner = match[2] or (options_of(cls).get("base") if cls.wraps else None)
    return joined_title(cls, title(inner) if isinstance(inner, str) else None)


def _split(name: str) -> tuple[str, str | None]:
    """Split a name into the outer name and the name in brackets, which is None if there are no brackets."""
    if not isinstance(name, str):
        raise CAMError(f'create needs the name first, then the model: create("gradcam", model), got {brief(name)}')
    match = re.fullmatch(r"([^()]+)(?:\((.+)\))?", name.strip())
    if match is None:
        raise CAMError(f'a CAM\'s name must look like "gradcam" or "fgcam(gradcam)", got "{name}"')
    return match[1], match[2]


@names_checked(OF_CONSTRUCTORS)
def create(name: str, forward_func: Callable[..., Any], layer: Any = None, **options: Any) -> Any:
    """Make an explainer from its name.

    Args:
        name: one of :func:`names`, or a wrapper with its base in brackets: ``fgcam(fdcam)`` is FG-CAM with the base
            FD-CAM.
        forward_func: as in :class:`CAMAttribution`.
        layer: as in :class:`CAMAttribution`.
        **options: hyperparameters. Each option is passed to every class in the name that accepts it.

    Returns:
        The explainer, a :class:`CAMAttribution`.

    Raises:
        CAMError: the name is unknown, a class in it takes no base, or no class in it accepts an option.

    Example::

        explainer = cc.create("fgcam(fdcam)", model, "layer4", denoising=True, percentile=10.0)
        maps = explainer.attribute(images, labels)
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
        raise CAMError(f'{cls.__name__} takes no base, got "{name}"; use one of the wrappers: {", ".join(wrappers())}')
    shared = {key: value for key, value in own.items() if key in _options_within(inner)}
    return cls(forward_func, base=create(inner, forward_func, layer, **shared, **rest), **own)


def _options_within(name: str) -> set[str]:
    """Collect the options of all classes in a name."""
    return set().union(*(options_of(lookup(part)) for part in re.findall(r"[^()]+", name)))
