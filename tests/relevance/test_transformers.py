"""Relevance reaches the pixels of the transformers that people have, and it is printed how much of it arrives."""

import pytest
import timm
import torch
import torchvision
from timm.layers import set_fused_attn
from torch import Tensor, nn

import captum_cams as cc
from tests.support.networks import seeded

NETS = {
    "vit_tiny_patch16_224": 64,
    "deit_tiny_distilled_patch16_224": 64,
    "vit_small_patch14_reg4_dinov2": 70,
    "swin_tiny_patch4_window7_224": 112,
    "pvt_v2_b0": 64,
    "maxvit_rmlp_pico_rw_256": 256,
    "coatnet_nano_rw_224": 224,
    "convnext_atto": 64,
    "convnextv2_atto": 64,
}
TORCHVISION = {"swin_t": 64, "vit_b_16": 224, "maxvit_t": 224, "convnext_tiny": 64}


def built(name: str, fused: bool = True) -> nn.Module:
    set_fused_attn(fused)
    try:
        options = {"img_size": NETS[name]} if name.startswith(("vit", "deit", "swin")) else {}
        return seeded(lambda: timm.create_model(name, pretrained=False, num_classes=10, **options)).eval()
    finally:
        set_fused_attn(True)


def image(size: int) -> Tensor:
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224"])
def test_fused_and_unfused_attention_agree(name):
    agree(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_fused_and_unfused_attention_of_every_network_agree(name):
    agree(name)


def agree(name: str) -> None:
    # In float64: where a sum of two maps is near zero, relevance magnifies the rounding of float32.
    x = image(NETS[name]).double()
    found, expected = (cc.LRP(built(name, fused).double()).contributions(x, 1) for fused in (True, False))
    assert found.shape == x.shape
    assert found.any()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NETS, *TORCHVISION])
def test_relevance_reaches_the_pixels(name):
    if name in NETS:
        model, size = built(name), NETS[name]
    else:
        size = TORCHVISION[name]
        model = seeded(lambda: torchvision.models.get_model(name, weights=None, num_classes=10)).eval()
        nn.init.normal_([module for module in model.modules() if isinstance(module, nn.Linear)][-1].weight, std=0.02)
    x = image(size)
    score, target = model(x).detach()[0].max(0)
    relevance = cc.LRP(model).contributions(x, int(target))
    assert relevance.isfinite().all()
    assert relevance.any()
    print(f"{name}: {float(relevance.sum() / score):.3f} of the score arrives")
