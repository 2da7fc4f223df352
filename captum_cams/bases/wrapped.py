"""What the methods share that make a map from another method's."""

from collections.abc import Callable
from typing import Any

from torch import nn

from captum_cams.bases.attribution import CAMAttribution, Reshape
from captum_cams.cost import Cost
from captum_cams.engine.layers import is_layer
from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError, brief
from captum_cams.registry import create, names


class WrappedCAM(CAMAttribution):
    """A map made with another explainer, which is kept in ``base``; subclasses write :meth:`explain`.

    Args:
        forward_func: as in :class:`CAMAttribution`.
        layer: of the base, if that is given by name.
        device_ids: as in :class:`CAMAttribution`.
        base: an explainer of the same model, or its name, wrappers included.
        reshape: of the base, if that is given by name.
        task: of both; None is the base's own.

    Raises:
        CAMError: unknown base, a base of another model or for another task, or a layer beside a base that has its own.
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
            raise CAMError("base must explain the model that its wrapper is given; build both with the same one")
        elif layer is not None:
            raise CAMError("layer must be None beside a base that has its own; pass it to the base")
        elif task is not None and task != base.task:
            raise CAMError(f"task must be None or {base.task!r} beside a base that reads it so, got {task!r}")
        else:
            made = base
        self.base = made
        super().__init__(forward_func, made.layer, device_ids, reshape=made.reshape, task=made.task)

    @property
    def total_cost(self) -> Cost:
        return self.cost.over(self.base.total_cost)

    @property
    def given_layer(self) -> nn.Module | None:
        return self.base.given_layer

    @property
    def layer(self) -> nn.Module | None:
        """The layer of the base, which finds it in its first call if it was given none."""
        return self.base.layer

    @layer.setter
    def layer(self, layer: nn.Module | None) -> None:
        self.base.layer = layer


def _refuse_base_as_layer(kind: str, forward_func: Callable[..., Any], layer: Any) -> None:
    made = isinstance(layer, CAMAttribution)
    if made or (isinstance(layer, type) and issubclass(layer, CAMAttribution)):
        name = f"{type(layer).__name__ if made else layer.__name__}(model)"
    elif isinstance(layer, str) and layer.partition("(")[0] in names() and not is_layer(forward_func, layer):
        name = f'"{layer}"'
    else:
        return
    raise CAMError(
        f"layer must be a module or its dotted name, got {name}; the base comes by name: {kind}(model, base={name})"
    )


def _not_a_base(given: Any) -> str:
    if isinstance(given, nn.Module):
        return f"{brief(given)}; a layer comes second: pass layer="
    if isinstance(given, type) and issubclass(given, CAMAttribution):
        return f"{brief(given)}; pass {given.__name__}(model)"
    if isinstance(given, list | tuple):
        return f"{brief(given)}; several layers are MultiLayerCAM(model, layers=[…])"
    return brief(given)
