"""The place that is explained, and layers by their names."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from captum_cams.engine.image_input import ImageInput
from captum_cams.engine.layout import Layout
from captum_cams.engine.untouched import module_of
from captum_cams.errors import CAMError, brief, near


@dataclass(frozen=True)
class Place:
    """Where a model is explained.

    Args:
        layer: the module.
        at_input: whether the input of the layer is explained instead of its output.
        layout: how the value there becomes a map N×K×h×w and back; None if it already is one.
    """

    layer: nn.Module
    at_input: bool = False
    layout: Layout | None = None


def describe(forward_func: Callable[..., Any], layer: nn.Module) -> str:
    """Name a layer for messages, such as ``layer4.1 (BasicBlock)``."""
    model = module_of(forward_func)
    names = {} if model is None else {module: name for name, module in model.named_modules()}
    kind = type(layer).__name__
    return f"{names[layer]} ({kind})" if names.get(layer) else kind


def dotted(forward_func: Callable[..., Any], value: Any) -> Any:
    """Replace a module of the model, or each module in a list, by its dotted name; return other values unchanged."""
    if isinstance(value, list):
        return [dotted(forward_func, entry) for entry in value]
    model = module_of(forward_func)
    if not isinstance(value, nn.Module) or model is None:
        return value
    return next((name for name, module in model.named_modules() if module is value), value)


def is_layer(forward_func: Callable[..., Any], name: str) -> bool:
    """Tell whether a module of the model has this dotted name."""
    model = module_of(forward_func)
    return model is not None and any(name == known for known, _ in model.named_modules() if known)


def named_layer(forward_func: Callable[..., Any], layer: nn.Module | str) -> nn.Module:
    """Return the layer itself if it is a module, otherwise the module with this dotted name.

    Raises:
        CAMError: if no module has this name (the error lists similar names), or ``forward_func`` is not a module.
    """
    if isinstance(layer, nn.Module):
        return layer
    if isinstance(layer, list | tuple):
        raise CAMError(
            f"layer must be one module or its dotted name, got a {type(layer).__name__} of {len(layer)}; pass the "
            "module itself, layer=model.layer4, or use MultiLayerCAM(model, layers=[…]) for several layers"
        )
    model = module_of(forward_func)
    if model is None:
        raise CAMError(f"a layer by name needs a torch.nn.Module, got {brief(forward_func)}; pass the module")
    modules = {name: module for name, module in model.named_modules() if name}
    if isinstance(model, ImageInput):
        modules = {name: module for name, module in model.model.named_modules() if name} | modules
    if not isinstance(layer, str) or layer not in modules:
        hint = _meant(layer, modules) if isinstance(layer, str) else ""
        outer = [name for name, _ in model.named_children()]
        listed = ", ".join(["…", *outer[-8:]] if len(outer) > 9 else outer)
        frozen = "it contains no modules, like a frozen network: pass the eager network"
        known = f"the outermost names are {listed}" if outer else frozen
        hint = hint or f"; {known}"
        raise CAMError(f"layer must be a module or a dotted name of the model, got {brief(layer)}{hint}")
    return modules[layer]


def _meant(layer: str, names: Iterable[str]) -> str:
    """Suggest similar names; ``model.layer4[0]`` is read as ``layer4.0``."""
    known = {*names}
    written = re.sub(r"\[(-?\d+)\]", r".\1", layer)
    for part in (written, written.partition(".")[2]):
        if part in known:
            return f'; did you mean "{part}"?'
    return near(layer, known)
