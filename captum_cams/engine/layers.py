"""Find the layer to explain, by name or by watching one run."""

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import nn

from captum_cams.engine.layout import Layout
from captum_cams.engine.trace import watch
from captum_cams.engine.untouched import modules_of, unwrap
from captum_cams.errors import CAMError, brief, near

log = logging.getLogger("captum_cams")

# Modules that hand a map on, resize it for the head, or only string other modules together.
_NOT_FEATURES = (
    nn.Identity,
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)


@dataclass(frozen=True)
class Place:
    """The output (or input) of a layer, as a map."""

    layer: nn.Module
    at_input: bool = False
    layout: Layout | None = None


def find_layer(forward_func: Callable[..., Any], run: Callable[[], Any], ndim: int = 4) -> nn.Module:
    """The last module with a map N×K×h×w, h·w > 1, that ends before the classifier begins; ``ndim`` is the input's.

    Raises:
        CAMError: ``forward_func`` is no module, or no such layer exists.
    """
    return find_layers(forward_func, run, ndim, 1)[0]


def find_layers(forward_func: Callable[..., Any], run: Callable[[], Any], ndim: int, sizes: int) -> list[nn.Module]:
    """The last such module of each of the last ``sizes`` sizes of map, the deepest first.

    Raises:
        CAMError: as :func:`find_layer`.
    """
    model = unwrap(forward_func)
    if not isinstance(model, nn.Module):
        raise CAMError(
            f"layer=None needs a torch.nn.Module to search, got {type(forward_func).__name__}; "
            "pass the layer as a module: layer=model.layer4"
        )
    _, calls, classifier = watch(run, modules_of(model))
    limit = classifier.start if classifier else calls[-1].start if calls else 0
    names = {module: name for name, module in model.named_modules()}
    found: dict[tuple[int, ...], nn.Module] = {}
    for call in reversed(calls):
        size = call.shape[2:]
        if (
            len(call.shape) == ndim
            and prod(size) > 1
            and size not in found
            and call.end < limit
            and type(call.module) is not nn.Sequential
            and not isinstance(call.module, _NOT_FEATURES)
            and names.get(call.module)
        ):
            log.info("layer %s (%s) is explained", names[call.module], "×".join(map(str, call.shape[1:])))
            found[size] = call.module
            if len(found) == sizes:
                break
    if not found:
        raise CAMError(
            "no layer with a spatial map (N×K×h×w, h·w > 1) was found before the classifier; "
            "pass layer= as a module or a dotted name"
        )
    return list(found.values())


def describe(forward_func: Callable[..., Any], layer: nn.Module) -> str:
    """The layer as messages name it: ``layer4.1 (BasicBlock)``."""
    model = unwrap(forward_func)
    names = {module: name for name, module in model.named_modules()} if isinstance(model, nn.Module) else {}
    kind = type(layer).__name__
    return f"{names[layer]} ({kind})" if names.get(layer) else kind


def dotted(forward_func: Callable[..., Any], value: Any) -> Any:
    """A module of the model, or each one in a list, as its dotted name; any other value as it is."""
    if isinstance(value, list):
        return [dotted(forward_func, one) for one in value]
    model = unwrap(forward_func)
    if not isinstance(value, nn.Module) or not isinstance(model, nn.Module):
        return value
    return next((name for name, module in model.named_modules() if module is value), value)


def is_layer(forward_func: Callable[..., Any], name: str) -> bool:
    """Whether a module of the model has this dotted name."""
    model = unwrap(forward_func)
    return isinstance(model, nn.Module) and any(name == known for known, _ in model.named_modules() if known)


def named_layer(forward_func: Callable[..., Any], layer: nn.Module | str) -> nn.Module:
    """The module itself, or the one with this dotted name.

    Raises:
        CAMError: no module has this name (near names are listed), or ``forward_func`` is no module.
    """
    if isinstance(layer, nn.Module):
        return layer
    if isinstance(layer, list | tuple):
        raise CAMError(
            f"layer must be one module or its dotted name, got a {type(layer).__name__} of {len(layer)}; pass the "
            "module itself: layer=model.layer4; several: MultiLayerCAM(model, layers=[…])"
        )
    model = unwrap(forward_func)
    if not isinstance(model, nn.Module):
        raise CAMError(f"a layer by name needs a torch.nn.Module, got {brief(forward_func)}; pass the module")
    modules = {name: module for name, module in model.named_modules() if name}
    if not isinstance(layer, str) or layer not in modules:
        hint = _meant(layer, modules) if isinstance(layer, str) else ""
        outer = [name for name, _ in model.named_children()]
        listed = ", ".join(["…", *outer[-8:]] if len(outer) > 9 else outer)
        frozen = "it has none inside, as a frozen network: pass the eager one"
        known = f"the outermost names are {listed}" if outer else frozen
        hint = hint or f"; {known}"
        raise CAMError(f"layer must be a module or a dotted name of the model, got {brief(layer)}{hint}")
    return modules[layer]


def _meant(layer: str, names: Iterable[str]) -> str:
    """Near names; ``model.layer4[0]`` is read as ``layer4.0``."""
    known = {*names}
    written = re.sub(r"\[(-?\d+)\]", r".\1", layer)
    for part in (written, written.partition(".")[2]):
        if part in known:
            return f'; did you mean "{part}"?'
    return near(layer, known)
