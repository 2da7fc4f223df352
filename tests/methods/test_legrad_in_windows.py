"""LeGrad on Swin against its formula, with windows, shift, mask and padding written out position by position."""

import pytest
import timm
import torch
import transformers
from torch import Tensor, nn
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2

import captum_cams as cc
from tests.support.networks import seeded

SIZE = {"depths": [2, 2], "num_heads": [2, 4]}
V2 = {"block": SwinTransformerBlockV2, "downsample_layer": PatchMergingV2}
TARGET = [3, 1]
X = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def lively(build) -> nn.Module:
    """No value that the libraries begin with is zero or one: masks, biases and norms count."""
    model = seeded(build).double()
    torch.manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.3)
            if isinstance(module, nn.Linear):
                module.weight.normal_(std=module.in_features**-0.5)
        for name, parameter in model.named_parameters():
            if name.endswith(("bias_table", ".bias")) and "norm" not in name:
                parameter.normal_(std=0.3)
    return model


def swin(window: int, **options) -> nn.Module:
    return lively(lambda: SwinTransformer([4, 4], 12, *SIZE.values(), [window] * 2, num_classes=5, **options))


def timm_swin() -> nn.Module:
    return lively(lambda: timm.models.SwinTransformer(img_size=32, window_size=2, embed_dim=12, num_classes=5, **SIZE))


def windows_of(size: int, window: int, shift: int) -> dict[tuple[int, int], list[tuple[int, int, int, tuple]]]:
    """For each window its slots: number in the window, row, column (size or more for padding) and region."""
    full = -(-size // window) * window
    shift = 0 if window >= full else shift
    found: dict[tuple[int, int], list[tuple[int, int, int, tuple]]] = {}
    for i in range(full):
        for j in range(full):
            at = [(side - shift) % full for side in (i, j)]
            region = tuple((side >= full - window) + (side >= full - shift) if shift else 0 for side in at)
            slot = at[0] % window * window + at[1] % window
            found.setdefault((at[0] // window, at[1] // window), []).append((slot, i, j, region))
    return found


def attended(attn: nn.Module, bias: Tensor, y: Tensor, window: int, shift: int):
    """T×K → T×K, and the weights: for each window and head the matrix and the token of each row, None for padding."""
    size, heads = round(len(y) ** 0.5), attn.num_heads
    wide = y.shape[1] // heads
    qkv_bias = attn.qkv.bias.clone()
    cosine = getattr(attn, "logit_scale", None)
    if cosine is not None:
        qkv_bias[y.shape[1] : 2 * y.shape[1]] = 0
    rows: list[Tensor | None] = [None] * len(y)
    weights = []
    for slots in windows_of(size, window, shift).values():
        tokens = [i * size + j if i < size and j < size else None for _, i, j, _ in slots]
        given = torch.stack([torch.zeros_like(y[0]) if token is None else y[token] for token in tokens])
        qkv = given @ attn.qkv.weight.T + qkv_bias
        mixed = []
        for head in range(heads):
            q, k, v = (qkv[:, part * y.shape[1] + head * wide :][:, :wide] for part in range(3))
            if cosine is None:
                scores = q @ k.T / wide**0.5
            else:
                q, k = (x / x.norm(dim=1, keepdim=True).clamp(min=1e-12) for x in (q, k))
                scores = q @ k.T * cosine[head].exp().clamp(max=100)
            numbers = [slot for slot, *_ in slots]
            scores = scores + bias[head][numbers][:, numbers]
            apart = [[-100.0 * (a[3] != b[3]) for b in slots] for a in slots]
            weight = (scores + torch.tensor(apart, dtype=y.dtype)).softmax(1)
            weights.append((weight, tokens))
            mixed.append(weight @ v)
        out = torch.cat(mixed, 1) @ attn.proj.weight.T + attn.proj.bias
        for token, row in zip(tokens, out, strict=True):
            if token is not None:
                rows[token] = row
    return torch.stack(rows), weights


def legrad(blocks, biases, z: Tensor, head, target: int, window: int, pooling: str, last: bool = False) -> Tensor:
    """The map of one sample from the tokens z, T×K, before the blocks."""
    size, total = round(len(z) ** 0.5), torch.zeros(len(z), dtype=z.dtype)
    for place, (block, bias) in enumerate(zip(blocks, biases, strict=True)):
        out, weights = attended(block.attn, bias, z if last else block.norm1(z), window, place % 2 * (window // 2))
        z = z + (block.norm1(out) if last else out)
        z = z + (block.norm2(block.mlp(z)) if last else block.mlp(block.norm2(z)))
        score = head((z.mean(0).expand_as(z) if pooling == "mean" else z).view(1, size, size, -1))[0, target]
        gradients = torch.autograd.grad(score, [weight for weight, _ in weights], retain_graph=True)
        for (_, tokens), gradient in zip(weights, gradients, strict=True):
            for token, value in zip(tokens, gradient.relu().mean(0), strict=True):
                if token is not None:
                    total[token] += value / block.attn.num_heads / len(blocks)
    return total.view(1, size, size).detach()


def torchvision_maps(model: nn.Module, window: int, pooling: str, last: bool) -> Tensor:
    tokens = model.features[:3](X)  # two blocks of 8×8 positions, and the merging of patches
    biases = [block.attn.get_relative_position_bias()[0].detach() for block in model.features[3]]
    head = nn.Sequential(model.norm, model.permute, model.avgpool, model.flatten, model.head)
    run = (window, pooling, last)
    return torch.stack(
        [legrad(model.features[3], biases, z.flatten(0, 1), head, TARGET[n], *run) for n, z in enumerate(tokens)]
    )


CASES = {
    "shifted": (2, {}, "mean"),
    "tokens as they are": (2, {}, "head"),
    "padded": (3, {}, "mean"),
    "one window": (4, {}, "mean"),
    "version 2": (2, V2, "mean"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_map_is_that_of_the_formula(case):
    window, options, pooling = CASES[case]
    model = swin(window, **options)
    expected = torchvision_maps(model, window, pooling, bool(options))
    assert bool((expected.flatten(1).std(1) > 0).all())
    for layer in (None, "features.3.1.norm1", "norm") if case == "shifted" else (None,):
        maps = cc.LeGrad(model, layer, pooling=pooling).attribute(X, TARGET)
        torch.testing.assert_close(maps, expected, rtol=0, atol=1e-9 * float(expected.max()))


def as_hugging_face(model: nn.Module) -> nn.Module:
    """The same network in Hugging Face's words."""
    config = transformers.SwinConfig(image_size=32, window_size=2, embed_dim=12, num_labels=5, **SIZE)
    other = transformers.SwinForImageClassification(config).double().eval()
    words = {
        "swin.": "",
        "embeddings.patch_embeddings.projection": "patch_embed.proj",
        "embeddings.norm": "patch_embed.norm",
        "encoder.": "",
        "attention.relative_position_bias.": "attn.",
        "attention.o_proj": "attn.proj",
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "layernorm.": "norm.",
        "classifier": "head.fc",
        "layers.0.downsample": "layers.1.downsample",
    }
    known = model.state_dict()
    for part, name in enumerate(("q", "k", "v")):
        for qkv in [key for key in known if ".qkv." in key]:
            known[qkv.replace("attn.qkv", f"attention.{name}_proj")] = known[qkv].chunk(3)[part]
    for name, value in other.state_dict().items():
        for theirs, ours in words.items():
            name = name.replace(theirs, ours)
        value.copy_(known[name])
    return other


def test_timm_and_hugging_face_give_the_map_of_the_formula():
    model = timm_swin()
    z = model.layers[1].downsample(model.layers[0](model.patch_embed(X)))
    blocks = model.layers[1].blocks
    biases = [block.attn._get_rel_pos_bias()[0].detach() for block in blocks]
    expected = torch.stack(
        [
            legrad(blocks, biases, tokens.flatten(0, 1), lambda y: model.head(model.norm(y)), TARGET[n], 2, "mean")
            for n, tokens in enumerate(z)
        ]
    )
    other = as_hugging_face(model)
    torch.testing.assert_close(other(X).logits, model(X))
    for network in (model, other):
        maps = cc.LeGrad(network).attribute(X, TARGET)
        torch.testing.assert_close(maps, expected, rtol=0, atol=1e-9 * float(expected.max()))
