"""The network of a Lightning module, as images → scores."""

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss
from torchmetrics import Metric, MetricCollection

from captum_cams.engine.untouched import unwrap
from captum_cams.errors import CAMError

OutputFn = Callable[[Any], Tensor]


def class_scores(output: Any) -> Tensor:
    """A tensor, a tuple's first tensor, ``logits`` or the only tensor of a mapping or dataclass.

    Raises:
        CAMError: anything else; the remedy is ``output_fn``.
    """
    if isinstance(output, Tensor):
        return output
    output = vars(output) if is_dataclass(output) and not isinstance(output, type) else output
    if isinstance(output, Mapping):
        if isinstance(output.get("logits"), Tensor):
            return output["logits"]
        tensors = [value for value in output.values() if isinstance(value, Tensor)]
        if len(tensors) == 1:
            return tensors[0]
    elif isinstance(output, list | tuple):
        for value in output:
            if isinstance(value, Tensor):
                return value
    keys = f" with {sorted(map(str, output))}" if isinstance(output, Mapping) else ""
    raise CAMError(
        f"the network must return scores N×classes, got {type(output).__name__}{keys}; "
        "pass output_fn=lambda output: scores"
    )


class Network(nn.Module):
    """The Lightning module, or the network inside it, as images → scores."""

    def __init__(self, module: nn.Module, output_fn: OutputFn | None) -> None:
        super().__init__()
        inner = unwrap(network_of(unwrap(module)))  # type: ignore[arg-type]
        self.network: nn.Module = inner  # type: ignore[assignment]
        self.output_fn = output_fn or class_scores

    def forward(self, images: Tensor) -> Tensor:
        return self.output_fn(self.network(images))


def network_of(module: nn.Module) -> nn.Module:
    """The module itself if it defines ``forward``, else the only network among a Lightning module's children.

    Raises:
        CAMError: no ``forward`` and not exactly one child that could be the network.
    """
    if not isinstance(module, pl.LightningModule) or is_overridden("forward", module, pl.LightningModule):
        return module
    others = (Metric, MetricCollection, _Loss)
    networks = {name: child for name, child in module.named_children() if not isinstance(child, others)}
    if len(networks) != 1:
        found = ", ".join(networks) or "none"
        raise CAMError(
            f"{type(module).__name__} must define forward(images) → scores, or hold one network; found {found}; "
            "add a forward that calls the network to explain"
        )
    return next(iter(networks.values()))
