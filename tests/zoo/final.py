"""The final features of a network, as the network itself names them: what its head gets."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from tests.zoo.runs import first_tensor, put_first, seen

# torchvision has no common name for them.
_TORCHVISION = (
    *("features", "layer4", "trunk_output", "encoder", "blocks", "Mixed_7c", "inception5b", "conv5", "layers"),
)


@contextmanager
def final_features(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the final features of each run: the first tensor of ``forward_features`` or of the model under the head.

    Nothing is collected from a network that does not name them.
    """
    if hasattr(model, "forward_features"):
        with _forward_features(model) as kept:
            yield kept
        return
    inner = getattr(model, getattr(model, "base_model_prefix", "") or "", None)
    names = [name for name in _TORCHVISION if hasattr(model, name)]
    module = inner if isinstance(inner, nn.Module) else getattr(model, names[0]) if names else None
    if module is None:
        yield []
        return
    with seen(module) as kept:
        yield kept


@contextmanager
def _forward_features(model: nn.Module) -> Iterator[list[Tensor]]:
    kept: list[Tensor] = []
    original = model.forward_features

    def forward_features(*args: Any, **kwargs: Any) -> Any:
        output = original(*args, **kwargs)
        tensor = first_tensor(output)
        if tensor is None:
            return output
        kept.append(tensor)
        return put_first(output, tensor.clone())

    model.forward_features = forward_features
    try:
        yield kept
    finally:
        del model.forward_features
