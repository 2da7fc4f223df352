"""Attention written out in plain operations, so that a mode sees each of them and the weights are tensors of the graph.

``torch.nn.functional`` computes attention in one kernel, or hides the operations from a ``TorchFunctionMode``. The
functions here take the same arguments and give the same values.
"""

from math import sqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from captum_cams.errors import CAMError


def attention_weights(
    query: Tensor,
    key: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Compute softmax(Q Kᵀ · scale + mask), the weights that ``scaled_dot_product_attention`` gives to the values.

    Args:
        query: …×heads×T×d.
        key: …×heads×S×d.
        attn_mask: booleans (True takes part) or numbers that are added; broadcasts to …×heads×T×S.
        is_causal: whether each query sees only the keys up to its own position.
        scale: the factor of the products; None means 1/√d.
        enable_gqa: whether several heads of the query share a head of the key.

    Returns:
        The weights …×heads×T×S. A query that sees no key has the weight 0 everywhere, as in PyTorch.
    """
    if enable_gqa:
        key = shared_heads(key, query)
    scores = query @ key.transpose(-2, -1) * (1 / sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=query.device).tril()
    if attn_mask is None:
        return scores.softmax(-1)
    if attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
        blind = ~attn_mask.any(-1, keepdim=True)
    else:
        scores = scores + attn_mask
        blind = (attn_mask == -torch.inf).all(-1, keepdim=True)
    weights = scores.softmax(-1)
    return weights.masked_fill(blind, 0) if blind.any() else weights


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Compute ``scaled_dot_product_attention`` as weights times values.

    Args:
        query: as in :func:`attention_weights`.
        key: as in :func:`attention_weights`.
        value: …×heads×S×e.
        attn_mask: as in :func:`attention_weights`.
        dropout_p: must be 0, as it is in eval mode.
        is_causal: as in :func:`attention_weights`.
        scale: as in :func:`attention_weights`.
        enable_gqa: as in :func:`attention_weights`; also for the values.

    Returns:
        …×heads×T×e.

    Raises:
        CAMError: if ``dropout_p`` is not 0.
    """
    check_dropout(dropout_p)
    weights = attention_weights(query, key, attn_mask, is_causal, scale, enable_gqa)
    return weights @ (shared_heads(value, query) if enable_gqa else value)


def check_dropout(dropout_p: float) -> None:
    """Raise a CAMError unless the probability of dropout is 0."""
    if dropout_p:
        raise CAMError(
            f"attention must run without dropout when it is explained, got dropout_p={dropout_p}; in the model, pass "
            "dropout_p=self.p if self.training else 0.0"
        )


def shared_heads(tensor: Tensor, query: Tensor) -> Tensor:
    """Repeat the heads of keys or values so that each head of the query has its own."""
    return tensor.repeat_interleave(query.shape[-3] // tensor.shape[-3], -3)


def multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Compute ``torch.nn.functional.multi_head_attention_forward`` in operations that a mode can see.

    The attention itself is one call of ``scaled_dot_product_attention``.

    Args:
        query: T×N×E, or T×E for one sample; the other arguments are those of PyTorch as well.

    Returns:
        The output T×N×E, and the weights N×T×S, or N×heads×T×S without ``average_attn_weights``; None if they are not
        needed.

    Raises:
        CAMError: if an argument is given that only text decoders use: ``bias_k``, ``bias_v``, ``add_zero_attn``,
            ``static_k`` or ``static_v``.
    """
    if add_zero_attn or any(given is not None for given in (bias_k, bias_v, static_k, static_v)):
        raise CAMError(
            "nn.MultiheadAttention must be explained without add_bias_kv, add_zero_attn and static keys, got one of "
            "them; explain a layer after this module"
        )
    single = query.ndim == 2
    if single:
        query, key, value = (tensor.unsqueeze(1) for tensor in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    projected = _projected(
        (query, key, value),
        in_proj_weight,
        in_proj_bias,
        (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None,
    )
    # T×N×E → N×heads×T×d
    heads = [part.unflatten(-1, (num_heads, -1)).permute(1, 2, 0, 3) for part in projected]
    mask = _merged_mask(attn_mask, key_padding_mask, num_heads, query)
    dropout = dropout_p if training else 0.0
    mixed = functional.scaled_dot_product_attention(heads[0], heads[1], heads[2], mask, dropout)
    output = functional.linear(mixed.permute(2, 0, 1, 3).flatten(2), out_proj_weight, out_proj_bias)
    weights = None
    if need_weights:
        weights = attention_weights(heads[0], heads[1], mask)
        weights = weights.mean(1) if average_attn_weights else weights
    if single:
        output, weights = output.squeeze(1), None if weights is None else weights.squeeze(0)
    return output, weights


def _projected(inputs: tuple[Tensor, ...], packed: Tensor | None, bias: Tensor | None, separate: Any) -> list[Tensor]:
    """Query, key and value after their linear maps."""
    weights = separate if packed is None or separate is not None else packed.chunk(3)
    biases = (None, None, None) if bias is None else bias.chunk(3)
    return [functional.linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True)]


def _merged_mask(mask: Tensor | None, padding: Tensor | None, heads: int, query: Tensor) -> Tensor | None:
    """Both masks of ``nn.MultiheadAttention`` (True is left out) as one mask of numbers that are added."""
    parts = []
    if mask is not None:
        added = _added(mask, query)
        parts.append(added.unflatten(0, (-1, heads)) if added.ndim == 3 else added)
    if padding is not None:
        parts.append(_added(padding, query)[:, None, None, :])
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _added(mask: Tensor, query: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(query.dtype)
    return torch.zeros(mask.shape, dtype=query.dtype, device=query.device).masked_fill(mask, -torch.inf)
