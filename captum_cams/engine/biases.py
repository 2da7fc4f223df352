"""Record what biases add in one run of a model, as tensors of the autograd graph."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True, eq=False)
class Biased:
    """One operation that adds a bias."""

    output: Tensor
    """Its output, in the graph."""
    bias: Tensor
    """What it adds at each position, one number for each channel."""
    channels: int
    """The axis of the channels in the output: 1 or −1."""

    def shares(self, gradient: Tensor) -> Tensor:
        """The bias times its gradient, with the channels at axis 1.

        Args:
            gradient: the derivative of a score with respect to the output.
        """
        along = gradient.movedim(self.channels, 1) if gradient.ndim > 2 else gradient
        return along * self.bias.reshape(-1, *[1] * (along.ndim - 2))


# Where the bias stands among the arguments, and the axis of the channels in the output.
_LINEAR: dict[Any, tuple[int, int]] = {
    torch.conv1d: (2, 1),
    torch.conv2d: (2, 1),
    torch.conv3d: (2, 1),
    torch.conv_transpose1d: (2, 1),
    torch.conv_transpose2d: (2, 1),
    torch.conv_transpose3d: (2, 1),
    functional.linear: (2, -1),
    functional.group_norm: (3, 1),
    functional.layer_norm: (3, -1),
}


class BiasTrail(TorchFunctionMode):
    """Records each operation that adds a bias, while it is open in the calling thread.

    A BatchNorm with running statistics is linear; its bias is β − γ·mean/√(var + ε). Biases that a model adds by hand
    are not known.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Biased] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        bias, channels = _bias(func, args, kwargs)
        if bias is None or not output.requires_grad:
            return output
        self.found.append(Biased(output, bias.detach(), channels))
        return output.clone()  # a later operation may write to it


def _bias(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor | None, int]:
    if func is functional.batch_norm:
        return _bias_of_batch_norm(*args, **kwargs), 1
    if func not in _LINEAR:
        return None, 1
    place, channels = _LINEAR[func]
    return args[place] if len(args) > place else kwargs.get("bias"), channels


def _bias_of_batch_norm(
    values: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    """What a BatchNorm adds; its arguments are those of ``torch.nn.functional.batch_norm``."""
    if training or running_mean is None or running_var is None:  # statistics of the batch itself are no constants
        return bias
    shift = -running_mean * (running_var + eps).rsqrt()
    shift = shift if weight is None else weight * shift
    return shift if bias is None else shift + bias
