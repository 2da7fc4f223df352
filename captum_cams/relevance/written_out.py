"""Functions that are run as the plain operations of their definition, so that each of these gets its own rule."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_cams.engine.attention import attention, multi_head_attention


def _addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    return input + tensor1 * tensor2 * value


def _glu(input: Tensor, dim: int = -1) -> Tensor:
    left, right = input.chunk(2, dim)
    return left * right.sigmoid()


def _var_mean(input: Tensor, dim: Any = None, *rest: Any, keepdim: bool = False, **options: Any) -> Any:
    return torch.var(input, dim, *rest, keepdim=keepdim, **options), torch.mean(input, dim, keepdim=keepdim)


WRITTEN_OUT: dict[str, Callable[..., Any]] = {
    "scaled_dot_product_attention": attention,
    "multi_head_attention_forward": multi_head_attention,
    "addcmul": _addcmul,
    "glu": _glu,
    "var_mean": _var_mean,
}
