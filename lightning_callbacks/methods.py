"""Explainers as users name them: by name, made beforehand, or under a name of their own."""

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from captum_cams import CAMAttribution, CAMError, create
from captum_cams.engine.layers import named_layer
from captum_cams.engine.scores import Task, scores_of
from captum_cams.engine.untouched import untouched, unwrap
from captum_cams.errors import brief, shape_of
from captum_cams.registry import canonical
from lightning_callbacks.network import Network

Method = str | CAMAttribution
Methods = Method | Sequence[Method] | Mapping[str, Method]


def named(methods: Methods) -> dict[str, Method]:
    """Each method under its name: as the registry spells it, the class's, or the key of a mapping.

    Raises:
        CAMError: no method, one that is neither a name nor an explainer, an unknown one, or two of one name.
    """
    if isinstance(methods, Mapping):
        names, listed = list(methods), [_checked(one) for one in methods.values()]
    else:
        several = isinstance(methods, Iterable) and not isinstance(methods, str)
        listed = [_checked(one) for one in methods] if several else [_checked(methods)]
        names = [canonical(one) if isinstance(one, str) else type(one).__name__.lower() for one in listed]
    found = dict(zip(names, listed, strict=True))
    if len(found) < len(listed):
        raise CAMError(f"each method must have a name of its own, got {names}; pass a mapping of name to method")
    if not found:
        raise CAMError("there must be at least one method, got none")
    return found


def make(method: Method, network: Network, layer: nn.Module | str | None, task: Task) -> CAMAttribution:
    """The explainer itself, or the one with this name for a :class:`Network`.

    Raises:
        CAMError: an explainer of another model or for another task, an unknown name, or a layer that the network
            inside does not have.
    """
    if isinstance(method, CAMAttribution):
        explained = unwrap(method.forward_func)
        modules = {*explained.modules()} if isinstance(explained, nn.Module) else {network.network}
        if not modules & {*network.modules()}:
            raise CAMError(
                f"{type(method).__name__} explains another model than the one that is given; make it with that one, or "
                "pass its name"
            )
        if isinstance(task, str) and isinstance(method.task, str) and method.task != task:
            kind = type(method).__name__
            raise CAMError(f'{kind} must be made for the task that is measured, "{task}", got task="{method.task}"')
        return method
    return create(method, network, None if layer is None else named_layer(network.network, layer), task=task)


def check_scores(explainers: Iterable[CAMAttribution], network: Network, images: Tensor, task: Task) -> None:
    """Raise where an explainer made beforehand explains other scores than those that are measured.

    The scores of one batch must put the classes of each image in one order, as a softmax or a temperature leaves it.

    Args:
        explainers: those made for the network itself are not asked.
        network: whose scores are measured.
        images: N×C×H×W.
        task: of the network.

    Raises:
        CAMError: the number of classes or their order is another one.
    """
    for explainer in explainers:
        if explainer.forward_func is network:
            continue
        with untouched(explainer.forward_func):
            own = scores_of(unwrap(explainer.forward_func)(images.clone()), explainer.task)
        measured = network.scores(images, task)
        # What is no tensor is refused when it is explained.
        if isinstance(own, Tensor) and not (own.shape == measured.shape and _ordered_alike(own, measured)):
            raise CAMError(
                f"{type(explainer).__name__} must explain the scores that are measured, but its model gives others "
                f"({shape_of(own)} and {shape_of(measured)}, or classes in another order); pass its name, or make it "
                "with the same task and a model that does what output_fn does"
            )


def _ordered_alike(one: Tensor, other: Tensor) -> bool:
    """Whether one of the two, sorted by the other one, does not rise by more than rounding."""

    def rises(values: Tensor, order: Tensor) -> bool:
        steps = values.gather(1, order.argsort(1, descending=True)).diff(dim=1)
        return bool((steps > 0.01 * values.abs().amax(1, keepdim=True)).any())

    one, other = one.float(), other.float()
    return not (rises(one, other) and rises(other, one))


def _checked(method: object) -> Method:
    if isinstance(method, type) and issubclass(method, CAMAttribution):
        name = method.__name__
        raise CAMError(
            f"a method must be a name or an explainer, got the class {name}; "
            f'pass its name "{name.lower()}" or {name}(model)'
        )
    if not isinstance(method, str | CAMAttribution):
        raise CAMError(
            "a method must be a name of captum_cams.names() or an explainer of captum_cams, got "
            f"{getattr(method, '__name__', brief(method))}; captum_cams.metrics measures the maps of others"
        )
    return method
