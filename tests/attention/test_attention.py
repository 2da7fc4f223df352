"""Attention written out gives the values of PyTorch's kernels."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from captum_cams import CAMError
from captum_cams.engine.attention import attention, multi_head_attention

QUERY, KEY, VALUE = (torch.randn(2, 4, size, 8, generator=torch.Generator().manual_seed(size)) for size in (5, 6, 6))
MASKS = {
    "none": {},
    "bool": {"attn_mask": torch.rand(5, 6, generator=torch.Generator().manual_seed(0)) < 0.6},
    "blind": {"attn_mask": torch.arange(5)[:, None].expand(5, 6) > 0},
    "added": {"attn_mask": torch.randn(2, 1, 5, 6, generator=torch.Generator().manual_seed(0))},
    "causal": {"is_causal": True},
    "scale": {"scale": 0.3},
}


@pytest.mark.parametrize("options", MASKS.values(), ids=MASKS)
def test_it_equals_the_kernel(options):
    expected = functional.scaled_dot_product_attention(QUERY, KEY, VALUE, **options)
    torch.testing.assert_close(attention(QUERY, KEY, VALUE, **options), expected)


def test_heads_of_the_query_may_share_keys():
    shared = {"enable_gqa": True}
    expected = functional.scaled_dot_product_attention(QUERY, KEY[:, :2], VALUE[:, :2], **shared)
    torch.testing.assert_close(attention(QUERY, KEY[:, :2], VALUE[:, :2], **shared), expected)


def test_dropout_is_refused():
    with pytest.raises(CAMError, match="without dropout"):
        attention(QUERY, KEY, VALUE, dropout_p=0.1)


class WrittenOut(TorchFunctionMode):
    """Runs ``multi_head_attention`` instead of PyTorch's function."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is functional.multi_head_attention_forward:
            self.used = True
            return multi_head_attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("masked", ["none", "attn", "padding", "both", "per_head"])
@pytest.mark.parametrize("kind", ["packed", "separate", "no_bias", "single"])
def test_multi_head_attention_equals_the_module(kind, masked, batch_first):
    torch.manual_seed(0)
    sizes = {"kdim": 12, "vdim": 10} if kind == "separate" else {}
    module = nn.MultiheadAttention(16, 4, bias=kind != "no_bias", batch_first=batch_first, **sizes).eval()
    query, key, value = torch.randn(2, 5, 16), torch.randn(2, 6, sizes.get("kdim", 16)), torch.randn(2, 6, 16)
    value = value[..., : sizes.get("vdim", 16)]
    options = {"need_weights": True, "average_attn_weights": masked == "none"}
    if masked in ("attn", "both"):
        options["attn_mask"] = torch.eye(5, 6) > 0
    if masked in ("padding", "both"):
        options["key_padding_mask"] = torch.arange(6).expand(2, 6) > 3
    if masked == "per_head":
        options["attn_mask"] = torch.randn(8, 5, 6)
    if kind == "single":
        query, key, value = query[0], key[0], value[0]
        if "key_padding_mask" in options:
            options["key_padding_mask"] = options["key_padding_mask"][0]
        if masked == "per_head":
            options["attn_mask"] = options["attn_mask"][:4]
    elif not batch_first:
        query, key, value = (tensor.transpose(0, 1) for tensor in (query, key, value))
    expected = module(query, key, value, **options)
    with WrittenOut() as mode:
        output, weights = module(query, key, value, **options)
    assert mode.used
    torch.testing.assert_close(output, expected[0])
    torch.testing.assert_close(weights, expected[1])
