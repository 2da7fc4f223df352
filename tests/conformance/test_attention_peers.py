"""LeGrad against TorchCAM, and attention of timm and Hugging Face in each way that they compute it."""

import pytest
import torch
import torchvision
from torch import Tensor, nn

import captum_cams as cc
from tests.support.networks import images, seeded

ATTENTION = ("attentionrollout", "chefer", "legrad")
TARGET = [1, 3]


def vision_transformer() -> nn.Module:
    return seeded(lambda: torchvision.models.VisionTransformer(40, 8, 3, 2, 24, 48, num_classes=5))


@pytest.mark.parametrize("block", [0, 2])
def test_legrad_is_torchcams_wherever_the_layer_is(block):
    methods = pytest.importorskip("torchcam.methods")
    model, x = vision_transformer(), images(2)
    layer = f"encoder.layers.encoder_layer_{block}.ln_1"
    with methods.LeGrad(model, list(model.encoder.layers)) as extractor:
        scores = model(x)
        expected = extractor(TARGET, scores, normalized=False)[0]
    maps = cc.LeGrad(model, layer, reshape="tokens").attribute(x, TARGET)
    torch.testing.assert_close(maps[:, 0], expected, rtol=1e-5, atol=1e-5 * float(expected.max()))


def agree(name: str, first: nn.Module, second: nn.Module, layer: str, prefix: int, size: int = 40) -> None:
    """Both networks have the same weights and compute attention in two ways."""
    x = nn.functional.interpolate(images(2), (size, size))
    one, two = (cc.create(name, m, layer, reshape=cc.tokens(prefix)).attribute(x, TARGET) for m in (first, second))
    assert bool((one.flatten(1).std(1) > 0).all())
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5 * float(one.max()))


TIMM = {
    "vit_tiny_patch16_224": 1,
    "vit_base_patch16_siglip_224": 0,
    "deit_tiny_distilled_patch16_224": 2,
    "vit_small_patch14_reg4_dinov2": 5,
    "eva02_tiny_patch14_224": 1,
}


@pytest.mark.parametrize("name", ATTENTION)
@pytest.mark.parametrize("architecture", TIMM)
def test_fused_attention_of_timm_gives_the_map_of_attention_by_hand(architecture, name):
    timm = pytest.importorskip("timm")
    size = 56 if "patch14" in architecture else 64
    small = {"img_size": size, "depth": 2, "embed_dim": 48, "num_heads": 3, "num_classes": 5}
    model, by_hand = (seeded(lambda: timm.create_model(architecture, **small)) for _ in range(2))
    for module in by_hand.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    agree(name, model, by_hand, "blocks.1.norm1", TIMM[architecture], size)


class Logits(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(pixel_values=x).logits


HUGGING_FACE = {"ViT": ("layernorm_before", 1), "DeiT": ("layernorm_before", 2), "Dinov2": ("norm1", 1)}


@pytest.mark.parametrize("name", ATTENTION)
@pytest.mark.parametrize("family", HUGGING_FACE)
def test_both_implementations_of_hugging_face_give_one_map(family, name):
    transformers = pytest.importorskip("transformers")
    norm, prefix = HUGGING_FACE[family]
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    shape = {"image_size": 40, "patch_size": 8, "num_labels": 5}

    def build(implementation):
        config = getattr(transformers, f"{family}Config")(**sizes, **shape, attn_implementation=implementation)
        return Logits(getattr(transformers, f"{family}ForImageClassification")(config))

    eager, fused = (seeded(lambda way=way: build(way)) for way in ("eager", "sdpa"))
    layer = [key for key, _ in eager.named_modules() if key.endswith(norm)][-1]
    agree(name, eager, fused, layer, prefix)


@pytest.mark.parametrize("name", ATTENTION)
def test_open_clip_is_explained(name):
    open_clip = pytest.importorskip("open_clip")
    model = seeded(lambda: open_clip.transformer.VisionTransformer(40, 8, 24, 2, 2, 2.0, output_dim=5))
    maps = cc.create(name, model, "transformer.resblocks.1.ln_1", reshape="tokens").attribute(images(2), TARGET)
    assert maps.shape == (2, 1, 5, 5)
    assert bool((maps.flatten(1).std(1) > 0).all())
