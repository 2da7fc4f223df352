"""Describe a network without its weights: the types of its modules, their options and their plain attributes."""

from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
from torch import nn
from torchmetrics import Metric, MetricCollection

from captum_cams.engine.torch_internals import hooks_of

_FRAMEWORK = {*vars(nn.Module()), *vars(pl.LightningModule())}
_PLAIN = (bool, int, float, str, tuple, type(None))


def parts_of(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module that takes part in a forward pass, with each of its dotted names."""
    for name, module in network.named_modules(remove_duplicate=False):
        if not isinstance(module, Metric | MetricCollection):  # metrics change whenever they are used
            yield name, module


def options_of(module: nn.Module) -> str:
    """The type of a module with the options that it prints, for example ``Conv2d(3, 8, kernel_size=(3, 3))``."""
    return f"{type(module).__name__}({' '.join(module.extra_repr().split())})"


def attributes_of(module: nn.Module) -> dict[str, Any]:
    """The attributes of a module that are neither weights nor modules, with its hooks and the code of a script.

    An attribute whose name begins with an underscore may be a cache, so it counts only if it is a plain value.
    """
    own = {
        key: value
        for key, value in vars(module).items()
        if key not in _FRAMEWORK and (not key.startswith("_") or isinstance(value, _PLAIN))
    }
    hooks = {kind: hooks for kind, hooks in hooks_of(module).items() if hooks}
    script = getattr(module, "code", None)
    return own | hooks | ({"code": script} if isinstance(script, str) else {})
