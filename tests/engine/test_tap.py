"""The tap of attention: what it records, and that the run stays the same."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from captum_cams.engine.tap import tapped
from captum_cams.errors import CAMError
from tests.support.networks import images
from tests.support.vit import WAYS, small_vit


def qkv(seed=0, heads=4, shared=4, queries=5, keys=5):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((2, heads, queries, 3), (2, shared, keys, 3), (2, shared, keys, 3))
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def recorded(function, *args):
    """The result under the tap, and the attention that it saw."""
    with torch.no_grad(), tapped([]) as tap:
        return function(*args), tap


def loops(q, k, scale, mask):
    """softmax(QKᵀ·scale + mask), one number after the other."""
    weights = torch.zeros(*q.shape[:3], k.shape[2], dtype=torch.float64)
    group = q.shape[1] // k.shape[1]
    for n in range(q.shape[0]):
        for h in range(q.shape[1]):
            for i in range(q.shape[2]):
                e = [float((q[n, h, i] @ k[n, h // group, j] * scale + mask[i, j]).exp()) for j in range(k.shape[2])]
                weights[n, h, i] = torch.tensor(e, dtype=torch.float64) / sum(e)
    return weights


BOOLEAN = torch.tensor([[j <= i + 1 for j in range(5)] for i in range(5)])
ADDED = torch.linspace(-1, 1, 25, dtype=torch.float64).view(5, 5)
CAUSAL = torch.zeros(5, 5).masked_fill(~torch.ones(5, 5, dtype=torch.bool).tril(), -torch.inf)
OPTIONS = {
    "plain": ({}, 3**-0.5, torch.zeros(5, 5)),
    "scale": ({"scale": 0.7}, 0.7, torch.zeros(5, 5)),
    "causal": ({"is_causal": True}, 3**-0.5, CAUSAL),
    "boolean mask": ({"attn_mask": BOOLEAN}, 3**-0.5, torch.zeros(5, 5).masked_fill(~BOOLEAN, -torch.inf)),
    "added mask": ({"attn_mask": ADDED}, 3**-0.5, ADDED),
    "shared heads": ({"enable_gqa": True}, 3**-0.5, torch.zeros(5, 5)),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_fused_attention_is_recorded_and_gives_the_same_result(name):
    options, scale, mask = OPTIONS[name]
    q, k, v = qkv(shared=2 if name == "shared heads" else 4)
    expected = F.scaled_dot_product_attention(q, k, v, **options)
    found, tap = recorded(lambda: F.scaled_dot_product_attention(q, k, v, **options))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    (attention,) = tap.attention
    torch.testing.assert_close(attention.weights, loops(q, k, scale, mask), rtol=0, atol=1e-12)
    assert attention.module is None
    weights = attention.weights.detach().requires_grad_()
    values = v.repeat_interleave(q.shape[1] // v.shape[1], 1)
    expected_gradient = torch.autograd.grad((weights @ values).square().sum(), weights)[0]
    gradient = torch.autograd.grad(found.square().sum(), attention.weights)[0]
    torch.testing.assert_close(gradient, expected_gradient)


class Rows(nn.Module):
    """Attention by hand, in the ways that people write it."""

    def __init__(self, way):
        super().__init__()
        self.way, self.softmax, self.drop = way, nn.Softmax(-1), nn.Dropout(0.3)

    def forward(self, q, k, v):
        scores = q @ k.transpose(-2, -1)
        match self.way:
            case "operator":
                return scores.softmax(-1) @ v
            case "modules":
                return torch.matmul(self.drop(self.softmax(scores)), v)
            case "conversion":
                return F.softmax(scores, dim=-1, dtype=torch.float32).to(v.dtype).contiguous().matmul(v)
            case "batch of heads":
                weights = torch.softmax(scores, 3).view(-1, *scores.shape[2:])
                return torch.bmm(weights, v.flatten(0, 1)).view(*q.shape[:3], -1)
            case "einsum":
                return torch.einsum("nhij,nhjd->nhid", scores.softmax(dim=-1), v)
            case "windows":  # torchvision's Swin keeps the same axes by a view
                return scores.softmax(3).view(2, 2, 2, *scores.shape[2:]).flatten(0, 1).view(scores.shape).matmul(v)


HANDS = ("operator", "modules", "conversion", "batch of heads", "einsum", "windows")


@pytest.mark.parametrize("way", HANDS)
def test_attention_by_hand_is_recorded(way):
    q, k, v = qkv()
    module = Rows(way).eval()
    expected = module(q, k, v)
    with torch.no_grad(), tapped(list(module.modules())) as tap:
        found = module(q, k, v)
    assert torch.equal(found, expected)
    assert not tap.changed
    (attention,) = tap.attention
    assert attention.module is module
    torch.testing.assert_close(attention.weights, (q @ k.transpose(2, 3)).softmax(-1).to(attention.weights.dtype))
    assert torch.autograd.grad(found.square().sum(), attention.weights)[0].any()


CHANGED = {
    "heads mixed": lambda s, v: torch.einsum("nhij,hg->ngij", s.softmax(-1), torch.ones(4, 4).double()) @ v,
    "heads scaled": lambda s, v: (s.softmax(-1) * 2) @ v,
    "difference": lambda s, v: (s.softmax(-1) - 0.1 * (2 * s).softmax(-1)) @ v,
    "transposed": lambda s, v: s.softmax(-1).transpose(2, 3) @ v,
    "over the queries by einsum": lambda s, v: torch.einsum("nhij,nhid->nhjd", s.softmax(-1), v),
    "active dropout": lambda s, v: F.dropout(s.softmax(-1), 0.5, True) @ v,
}


@pytest.mark.parametrize("name", CHANGED)
def test_attention_that_is_changed_before_the_values_is_noticed(name):
    q, k, v = qkv()
    _, tap = recorded(lambda: CHANGED[name](q @ k.transpose(2, 3), v))
    assert not tap.attention
    assert tap.changed


NONE = {
    "class probabilities": lambda s: s.flatten(1).softmax(-1),
    "gates over an axis": lambda s: (s.softmax(1) * s).sum(1),
    "over the queries": lambda s: s.softmax(-2) @ s,
    "probabilities of positions": lambda s: s[:, :, :2].softmax(-1) * 2,
}


@pytest.mark.parametrize("name", NONE)
def test_another_softmax_is_no_attention(name):
    q, k, _ = qkv()
    _, tap = recorded(lambda: NONE[name](q @ k.transpose(2, 3)))
    assert not tap.attention
    assert not tap.changed


MASKS = {
    "no mask": {},
    "mask": {"attn_mask": torch.ones(5, 5, dtype=torch.bool).triu(2)},
    "mask of each head": {"attn_mask": torch.linspace(0, 1, 150).view(6, 5, 5)},
    "padding": {"key_padding_mask": torch.tensor([[False] * 5, [False] * 3 + [True] * 2])},
}


@pytest.mark.parametrize("needed", [True, False])
@pytest.mark.parametrize("mask", MASKS)
def test_packed_attention_is_recorded_head_by_head(mask, needed):
    torch.manual_seed(0)
    module, x = nn.MultiheadAttention(12, 3, batch_first=True).eval(), torch.randn(2, 5, 12)
    expected, weights = module(x, x, x, average_attn_weights=False, **MASKS[mask])
    with torch.no_grad(), tapped([module]) as tap:
        found, returned = module(x, x, x, need_weights=needed, average_attn_weights=False, **MASKS[mask])
    torch.testing.assert_close(found, expected)
    (attention,) = tap.attention
    assert attention.module is module
    torch.testing.assert_close(attention.weights, weights)
    assert not tap.changed
    if needed:
        torch.testing.assert_close(returned, weights)


def test_the_fast_path_of_torch_is_off_under_the_tap_alone():
    layer = nn.TransformerEncoderLayer(12, 3, 24, batch_first=True).eval()
    model, x = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval(), torch.randn(2, 5, 12)
    fast = torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad():
        expected = model(x)
        with tapped(list(model.modules())) as tap:
            found = model(x)
    torch.testing.assert_close(found, expected)
    assert [attention.module for attention in tap.attention] == [block.self_attn for block in model.layers]
    assert [attention.block.module for attention in tap.attention] == list(model.layers)
    assert torch.backends.mha.get_fastpath_enabled() == fast


@pytest.mark.parametrize("way", WAYS)
def test_blocks_are_found_and_their_tokens_are_copies(way):
    model, x = small_vit(way), images(2)
    known = {}
    handles = [block.register_forward_hook(lambda m, a, output: known.update({m: output})) for block in model.blocks]
    with torch.no_grad(), tapped(list(model.modules())) as tap:
        model(x)
    for handle in handles:
        handle.remove()
    assert [attention.block.module for attention in tap.attention] == list(model.blocks)
    assert all(attention.block.follows for attention in tap.attention)
    for attention in tap.attention:
        tokens = known[attention.block.module]
        assert torch.equal(attention.block.tokens, tokens)
        assert attention.block.tokens.data_ptr() != tokens.data_ptr()


def test_active_dropout_is_refused():
    q, k, v = qkv()
    with pytest.raises(CAMError, match=r"without dropout .* dropout_p=0.1"):
        recorded(lambda: F.scaled_dot_product_attention(q, k, v, dropout_p=0.1))
