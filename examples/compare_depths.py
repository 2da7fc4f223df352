"""Compare maps of deep and shallow layers: does a finer map explain SqueezeNet less faithfully?

    python examples/compare_depths.py --data DIR --limit 100

Maps of three pooling layers and of the input are measured for the predicted class: deletion and insertion with 28 steps
and blur, and average drop and increase with the half of the pixels that have the highest values, shown over a blurred
image. The energy in the boxes is measured on other images, for the labelled class.

DIR must hold:
    squeezenet1_0_imagenet.pt   the weights, a state dict of torchvision's SqueezeNet 1.0
    imagenet_samples/           images, with labels.csv (columns file, class_index, class_name)
    imagenet_boxes/             images, with labels.csv (columns file, class_index, x0, y0, x1, y1)
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from compare_methods import boxed, load
from torch import Tensor, nn

import captum_cams as cc
from captum_cams.images import blur
from captum_cams.metrics import (
    Preset,
    average_drop,
    average_increase,
    curve_area,
    deletion_curve,
    energy_inside,
    insertion_curve,
)

LAYERS = ("features.11", "features.6", "features.2", "input")
PROTOCOL = Preset(28, blur, blur)
Maker = Callable[[nn.Module, str], cc.CAMAttribution]
METHODS: dict[str, Maker] = {
    "Grad-CAM": lambda model, layer: cc.GradCAM(model, layer),
    "Layer-CAM": lambda model, layer: cc.LayerCAM(model, layer),
    "FG-Grad-CAM": lambda model, layer: cc.FGCAM(model, base="gradcam", to=layer),
    "FG-Grad-CAM, denoised": lambda model, layer: cc.FGCAM(model, base="gradcam", to=layer, denoising=True),
    "FG-FD-CAM": lambda model, layer: cc.FGCAM(model, base="fdcam", to=layer),
    "LRP": lambda model, layer: cc.LRP(model),
    "CLRP": lambda model, layer: cc.CLRP(model),
    "SGLRP": lambda model, layer: cc.SGLRP(model),
}


def explain(cam: cc.CAMAttribution, images: Tensor, target: Tensor) -> Tensor:
    parts = zip(images.split(8), target.split(8), strict=True)
    return torch.cat([cam.attribute(x, t, relu_attributions=True) for x, t in parts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with weights and images")
    parser.add_argument("--limit", type=int, default=100, help="number of images (default: %(default)s)")
    args = parser.parse_args()

    model, images, _ = load(args.data, args.limit)
    model = model.to(memory_format=torch.channels_last)  # a third faster on a CPU
    with torch.no_grad():
        target = torch.cat([model(batch) for batch in images.split(16)]).argmax(1)
    pictures, labels, boxes = boxed(args.data / "imagenet_boxes")
    print(f"{len(images)} images, predicted class; energy on {len(pictures)}, labelled class; mean ± standard error\n")
    print("| to | method | average drop ↓ | average increase ↑ | deletion ↓ | insertion ↑ | over-all ↑ | energy ↑ |")
    print("|" + "---|" * 8)
    for layer in LAYERS:
        for name, make in METHODS.items():
            if (layer == "input" and name in ("Grad-CAM", "Layer-CAM")) or (layer != "input" and "LRP" in name):
                continue
            cam = make(model, layer)
            maps = explain(cam, images, target)
            deletion = curve_area(deletion_curve(model, images, maps, target, preset=PROTOCOL))
            insertion = curve_area(insertion_curve(model, images, maps, target, preset=PROTOCOL))
            drop = torch.cat([_half(average_drop, model, *part) for part in _parts(images, maps, target)])
            increase = torch.cat([_half(average_increase, model, *part) for part in _parts(images, maps, target)])
            inside = energy_inside(explain(cam, pictures, labels), boxes, (224, 224))
            cells = [_cell(drop, 1), _cell(increase, 1)]
            cells += [_cell(values, 3) for values in (deletion, insertion, insertion - deletion, inside)]
            print(f"| {layer} | {name} | " + " | ".join(cells) + " |", flush=True)


def _parts(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    return list(zip(*(tensor.split(16) for tensor in tensors), strict=True))


def _half(measure: Callable[..., Tensor], model: nn.Module, images: Tensor, maps: Tensor, target: Tensor) -> Tensor:
    return measure(model, images, maps, target, masking="fgcam")


def _cell(values: Tensor, digits: int) -> str:
    return f"{values.mean():.{digits}f} ± {values.std() / len(values) ** 0.5:.{digits}f}"


if __name__ == "__main__":
    main()
