"""Measure how much of a score arrives at the pixels as relevance: ``python -m benchmarks.conservation``.

Linear maps and norms keep a share of the relevance in their biases, as the rules say, so the sum at the pixels is not
the score. The table shows what is left of it, for seeded networks and one image.
"""

import argparse
from collections.abc import Callable

import timm
import torch
import torchvision
from torch import nn

import captum_cams as cc

TIMM = {
    "vit_tiny_patch16_224": 224,
    "deit_tiny_distilled_patch16_224": 224,
    "vit_small_patch14_reg4_dinov2": 224,
    "swin_tiny_patch4_window7_224": 224,
    "swinv2_tiny_window8_256": 256,
    "pvt_v2_b0": 224,
    "maxvit_rmlp_pico_rw_256": 256,
    "coatnet_nano_rw_224": 224,
    "xcit_nano_12_p16_224": 224,
    "convnext_atto": 224,
    "convnextv2_atto": 224,
}
TORCHVISION = {"vit_b_16": 224, "swin_t": 224, "maxvit_t": 224, "convnext_tiny": 224, "resnet18": 224}


def network(make: Callable[[], nn.Module]) -> nn.Module:
    """A seeded network; layers that begin with zeros, as the head of torchvision's ViT does, get random weights."""
    torch.manual_seed(0)
    model = make().eval()
    for weights in model.parameters():
        if weights.ndim > 1 and not weights.any():
            nn.init.normal_(weights, std=0.02)
    return model


def row(name: str, model: nn.Module, side: int) -> str:
    """The share of the highest score that arrives at the pixels, in float64."""
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1)).double()
    model = model.double()
    with torch.no_grad():
        score, target = model(image)[0].max(0)
    relevance = cc.LRP(model).contributions(image, int(target))
    return f"| {name} | {float(score):.3f} | {float(relevance.sum()):.3f} | {float(relevance.sum() / score):.3f} |"


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(f"torch {torch.__version__}, timm {timm.__version__}, torchvision {torchvision.__version__}; float64\n")
    print("| network | score | relevance of all pixels | share |")
    print("|---|---|---|---|")
    for name, side in TIMM.items():
        options = {"img_size": side} if name == "vit_small_patch14_reg4_dinov2" else {}
        model = network(lambda name=name, options=options: timm.create_model(name, num_classes=10, **options))
        print(row(f"timm {name}", model, side), flush=True)
    for name, side in TORCHVISION.items():
        model = network(lambda name=name: torchvision.models.get_model(name, weights=None, num_classes=10))
        print(row(f"torchvision {name}", model, side), flush=True)


if __name__ == "__main__":
    main()
