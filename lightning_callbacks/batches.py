"""What a batch and an output hold, and the network that turns one into the other."""

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss
from torchmetrics import Metric, MetricCollection

from captum_cams.errors import CAMError, shape_of

BatchFn = Callable[[Any], tuple[Tensor, Tensor | None]]
OutputFn = Callable[[Any], Tensor]


def images_and_labels(batch: Any) -> tuple[Tensor, Tensor | None]:
    """A tensor of images, or a tuple whose first entry is one; a second entry with one integer each is the labels.

    Raises:
        CAMError: anything else; the remedy is ``batch_fn``.
    """
    parts = batch if isinstance(batch, list | tuple) else (batch,)
    images = parts[0] if parts else None
    if not isinstance(images, Tensor) or images.ndim != 4:
        got = shape_of(images) if isinstance(images, Tensor) else type(batch).__name__
        raise CAMError(
            f"a batch must be images N×C×H×W or a tuple that begins with them, got {got}; "
            "pass batch_fn=lambda batch: (images, labels)"
        )
    labels = parts[1] if len(parts) > 1 and isinstance(parts[1], Tensor) else None
    whole = labels is not None and labels.shape == images.shape[:1] and not labels.is_floating_point()
    return images, labels if whole else None


def class_scores(output: Any) -> Tensor:
    """A tensor, a tuple's first tensor, a mapping's ``logits`` or its only tensor.

    Raises:
        CAMError: anything else; the remedy is ``output_fn``.
    """
    if isinstance(output, Tensor):
        return output
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

    def __init__(self, pl_module: pl.LightningModule, output_fn: OutputFn | None) -> None:
        super().__init__()
        self.network = network_of(pl_module)
        self.output_fn = output_fn or class_scores

    def forward(self, images: Tensor) -> Tensor:
        return self.output_fn(self.network(images))


def network_of(pl_module: pl.LightningModule) -> nn.Module:
    """The module itself if it defines ``forward``, else the only network among its children.

    Raises:
        CAMError: no ``forward`` and not exactly one child that could be the network.
    """
    if is_overridden("forward", pl_module, pl.LightningModule):
        return pl_module
    others = (Metric, MetricCollection, _Loss)
    networks = {name: child for name, child in pl_module.named_children() if not isinstance(child, others)}
    if len(networks) != 1:
        found = ", ".join(networks) or "none"
        raise CAMError(
            f"{type(pl_module).__name__} must define forward(images) → scores, or hold one network; found {found}; "
            "add a forward that calls the network to explain"
        )
    return next(iter(networks.values()))
