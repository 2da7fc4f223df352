"""What a network is beside its weights: the kinds of its modules, their options and their plain attributes."""

from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
from torch import nn
from torchmetrics import Metric, MetricCollection

from captum_cams.engine.torch_internals import hooks_of

_FRAMEWORK = {*vars(nn.Module()), *vars(pl.LightningModule())}
_PLAIN = (bool, int, float, str, tuple, type(None))


def parts_of(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module that takes part in a run, with its dotted name; a module in two places comes twice."""
    for name, module in network.named_modules(remove_duplicate=False):
        if not isinstance(module, Metric | MetricCollection):  # they change whenever they are used
            yield name, module


def options_of(module: nn.Module) -> str:
    """The kind of a module with the options that it prints, as ``Conv2d(3, 8, kernel_size=(3, 3))``."""
    return f"{type(module).__name__}({' '.join(module.extra_repr().split())})"


def attributes_of(module: nn.Module) -> dict[str, Any]:
    """The attributes that are neither weights nor modules, the hooks that change a run, and the code of a script.

    What begins with an underscore counts only where it is a plain value: caches are usually named so.
    """
    own = {
        key: value
        for key, value in vars(module).items()
        if key not in _FRAMEWORK and (not key.startswith("_") or isinstance(value, _PLAIN))
    }
    hooks = {kind: hooks for kind, hooks in hooks_of(module).items() if hooks}
    script = getattr(module, "code", None)
    return own | hooks | ({"code": script} if isinstance(script, str) else {})
