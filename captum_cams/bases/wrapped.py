"""Base class of wrappers, which build their map from the map of another method."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.cost import Cost
from captum_cams.engine.call import Call
from captum_cams.engine.layers import is_layer
from captum_cams.engine.layout import Reshape
from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError, brief
from captum_cams.paper import joined_title
from captum_cams.registry import create, names


class WrappedCAM(CAMAttribution):
    """The base class of wrappers: classes that build their map from the map of another explainer, the base.

    A subclass writes :meth:`explain`, and calls ``self.base.map_of(call)`` for the map of the base.

    Args:
        forward_func: as in :class:`CAMAttribution`.
        layer: the layer of the base, if the base is given by its name.
        device_ids: as in :class:`CAMAttribution`.
        base: an explainer of the same model, or the name of one. A wrapper may be the base of another wrapper.
        reshape: the ``reshape`` of the base, if the base is given by its name.
        task: the task of the wrapper and of the base. None is "multiclass", or the task of a base that is given as an
            explainer.

    Raises:
        CAMError: the base is unknown, explains another model or has another task, or both the wrapper and a base that
            is an explainer are given a layer.

    Example::

        class Square(cc.WrappedCAM):
            cost = cc.Cost(0, bases=1)

            def explain(self, call):
                return self.base.map_of(call) ** 2

        maps = Square(model, "layer4", base="gradcam").attribute(images)
    """

    wraps = True

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        base: str | CAMAttribution = "gradcam",
        reshape: Reshape = None,
        task: Task | None = None,
    ) -> None:
        _refuse_base_as_layer(type(self).__name__, forward_func, layer)
        if isinstance(base, str):
            if base not in names() and is_layer(forward_func, base):
                raise CAMError(f'base must be an explainer or its name, got the layer "{base}"; pass layer="{base}"')
            made: CAMAttribution = create(
                base, forward_func, layer, reshape=reshape, task="multiclass" if task is None else task
            )
        elif not isinstance(base, CAMAttribution):
            raise CAMError(f"base must be an explainer or its name, got {_not_a_base(base)}")
        elif base.forward_func is not forward_func:
            raise CAMError(
                "base must explain the model of its wrapper, got a base of another model; use one model for both"
            )
        elif layer is not None:
            raise CAMError(
                "layer must be None if the base is an explainer, got a layer; pass the layer to the base instead"
            )
        elif task is not None and task != base.task:
            raise CAMError(f"task must be None or that of the base, {base.task!r}, got {task!r}; make the base with it")
        else:
            made = base
        self.base = made
        super().__init__(forward_func, made.layer, device_ids, reshape=made.reshape, task=made.task)

    @property
    def total_cost(self) -> Cost:
        return self.cost.over(self.base.total_cost)

    @property
    def full_title(self) -> str:
        return joined_title(type(self), self.base.full_title)

    def find(self, call: Call) -> None:
        self.base.find(call)

    def answer(self, call: Call, question: Callable[[Call], Tensor]) -> Tensor:
        return self.base.answer(call, question)  # so that the wrapper reads the score that its base explains

    @property
    def given_layer(self) -> nn.Module | None:
        return self.base.given_layer

    @property
    def layer(self) -> nn.Module | None:
        """The layer of the base; if none was given, the first call of the base finds it."""
        return self.base.layer

    @layer.setter
    def layer(self, layer: nn.Module | None) -> None:
        self.base.layer = layer


def _refuse_base_as_layer(kind: str, forward_func: Callable[..., Any], layer: Any) -> None:
    """Raise an error if a base was passed as the layer."""
    made = isinstance(layer, CAMAttribution)
    if made or (isinstance(layer, type) and issubclass(layer, CAMAttribution)):
        name = f"{type(layer).__name__ if made else layer.__name__}(model)"
    elif isinstance(layer, str) and layer.partition("(")[0] in names() and not is_layer(forward_func, layer):
        name = f'"{layer}"'
    else:
        return
    raise CAMError(
        f"layer must be a module or its dotted name, got {name}; pass the base by keyword: {kind}(model, base={name})"
    )


def _not_a_base(given: Any) -> str:
    """Write what was given as the base, and what to pass instead."""
    if isinstance(given, nn.Module):
        return f"{brief(given)}; pass a layer as layer="
    if isinstance(given, type) and issubclass(given, CAMAttribution):
        return f"{brief(given)}; pass {given.__name__}(model)"
    if isinstance(given, list | tuple):
        return f"{brief(given)}; for several layers, use MultiLayerCAM(model, layers=[…])"
    return brief(given)
