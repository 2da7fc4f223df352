"""Read the ``methods`` argument: names, explainers, whatever makes maps, or a mapping from own names to these."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias, cast

from captum.attr import Attribution
from torch import Tensor, nn

from captum_cams import CAMAttribution, CAMError, create
from captum_cams.adapters.adapt import adapt, makes_maps
from captum_cams.engine.layers import named_layer
from captum_cams.engine.scores import Task, scores_of
from captum_cams.engine.untouched import untouched, unwrap
from captum_cams.errors import brief, shape_of
from captum_cams.registry import canonical
from lightning_callbacks.network import Network

Method: TypeAlias = str | CAMAttribution | Attribution | Callable[..., Any]
"""A name, an explainer, an attribution of Captum, an object of pytorch-grad-cam or TorchCAM, :class:`StoredMaps`, or a
function ``(model, images, target) -> maps``; see :class:`FunctionMaps`."""
Methods: TypeAlias = Method | Sequence[Method] | Mapping[str, Method]


def named(methods: Methods) -> dict[str, Method]:
    """Give each method a name: in the registry, of its function or its class, or its key in a mapping.

    Raises:
        CAMError: there is no method, a method is nothing that makes maps or is unknown, or two methods have the same
            name.
    """
    if isinstance(methods, Mapping):
        names, listed = list(methods), [_checked(method) for method in methods.values()]
    else:
        several = isinstance(methods, Iterable) and not isinstance(methods, str)
        listed = [_checked(method) for method in (cast(Iterable[object], methods) if several else [methods])]
        names = [canonical(method) if isinstance(method, str) else _called(method) for method in listed]
    found = dict(zip(names, listed, strict=True))
    if len(found) < len(listed):
        raise CAMError(f"each method must have a name of its own, got {names}; pass a mapping from names to methods")
    if not found:
        raise CAMError('there must be at least one method, got none; pass a name such as "gradcam"')
    return found


def make(method: Method, network: Network, layer: nn.Module | str | None, task: Task) -> CAMAttribution:
    """Make the explainer with this name for a network, or around what makes maps; an explainer is only checked.

    Raises:
        CAMError: the explainer belongs to another model or another task, the name is unknown, or the network has
            no such layer.
    """
    if not isinstance(method, str | CAMAttribution):
        function = method if hasattr(method, "model") or isinstance(method, Attribution) else partial(_inside, method)
        method = adapt(function, network, task)
    if isinstance(method, CAMAttribution):
        explained = unwrap(method.forward_func)
        modules = {*explained.modules()} if isinstance(explained, nn.Module) else {network.network}
        if not modules & {*network.modules()}:
            raise CAMError(
                f"{type(method).__name__} must explain the given model, but it was made for another model; make it "
                "with the given model, or pass its name"
            )
        if isinstance(task, str) and isinstance(method.task, str) and method.task != task:
            kind = type(method).__name__
            raise CAMError(
                f'{kind} must be made for the task that is measured, "{task}", got task="{method.task}"; '
                f'make it with task="{task}"'
            )
        return method
    return create(method, network, None if layer is None else named_layer(network.network, layer), task=task)


def check_scores(explainers: Iterable[CAMAttribution], network: Network, images: Tensor, task: Task) -> None:
    """Raise if an explainer explains other scores than the scores that are measured.

    The scores may differ, for example by a softmax or a temperature, but they must rank the classes of each image in
    the same order; a single score must rank the images in the same order.

    Args:
        explainers: explainers that were made for the network itself are not checked.
        network: the network whose scores are measured.
        images: N×C×H×W, one batch.
        task: the task of the network.

    Raises:
        CAMError: the number or the order of the classes differs.
    """
    for explainer in explainers:
        if explainer.forward_func is network:
            continue
        with untouched(explainer.forward_func):
            own = scores_of(unwrap(explainer.forward_func)(images.clone()), explainer.task)
        measured = network.scores(images, task)
        # An output that is not a tensor is refused later, when it is explained.
        if isinstance(own, Tensor) and not (own.shape == measured.shape and _ordered_alike(own, measured)):
            raise CAMError(
                f"{type(explainer).__name__} must explain the scores that are measured, but its model gives others "
                f"({shape_of(own)} and {shape_of(measured)}, or classes in another order); pass its name, or make it "
                "with the same task and a model that does what output_fn does"
            )


def _ordered_alike(one: Tensor, other: Tensor) -> bool:
    """Whether both scores rank the classes of each image, or the images, in the same order, except for rounding."""

    def rises(values: Tensor, order: Tensor) -> bool:
        steps = values.gather(1, order.argsort(1, descending=True)).diff(dim=1)
        return bool((steps > 0.01 * values.abs().amax(1, keepdim=True)).any())

    one, other = one.float(), other.float()
    if one.shape[1:] == (1,):  # a single score: instead of the classes, the images must be in the same order
        one, other = one.T, other.T
    return not (rises(one, other) and rises(other, one))


def _inside(function: Callable[..., Any], network: Network, images: Tensor, target: Tensor) -> Any:
    """Call a function with the user's own network instead of the module around it."""
    return function(network.network, images, target)


def _called(method: Any) -> str:
    """The name of a method that is not a string: that of a function, or of a class in lower case."""
    return getattr(method, "__name__", None) or type(method).__name__.lower()


def _checked(method: object) -> Method:
    """The method itself, or an error if it makes no maps."""
    if isinstance(method, type) and issubclass(method, CAMAttribution):
        name = method.__name__
        raise CAMError(
            f"a method must be a name or an explainer, got the class {name}; "
            f'pass its name "{name.lower()}" or {name}(model)'
        )
    if not isinstance(method, str | CAMAttribution) and not makes_maps(method):
        got = getattr(method, "__name__", None) if isinstance(method, type) else None
        raise CAMError(
            "a method must be a name of captum_cams.names(), an explainer, an attribution of captum.attr, or a "
            f"function (model, images, target) -> maps, got {got or brief(method)}; make an object of a class for the "
            "model first, and pass maps in a folder as captum_cams.StoredMaps(folder)"
        )
    return method
