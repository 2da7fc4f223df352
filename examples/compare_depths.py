"""Do maps get worse as they get finer? FG-CAM's question, on SqueezeNet's three poolings and its input.

    python examples/compare_depths.py --data DIR --limit 100

DIR holds squeezenet1_0_imagenet.pt, imagenet_samples/ (faithfulness, predicted class; deletion and insertion with
28 steps and blur, average drop and increase on the upper half of the pixels over blur) and imagenet_boxes/ (energy
inside the boxes of the labelled class, whole images at 224×224), each with labels.csv.
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

PLACES = ("features.11", "features.6", "features.2", "input")
PROTOCOL = Preset(28, blur, blur)
Maker = Callable[[nn.Module, str], cc.CAMAttribution]
METHODS: dict[str, Maker] = {
    "Grad-CAM": lambda model, place: cc.GradCAM(model, place),
    "Layer-CAM": lambda model, place: cc.LayerCAM(model, place),
    "FG-Grad-CAM": lambda model, place: cc.FGCAM(model, base="gradcam", to=place),
    "FG-Grad-CAM, denoised": lambda model, place: cc.FGCAM(model, base="gradcam", to=place, denoising=True),
    "FG-FD-CAM": lambda model, place: cc.FGCAM(model, base="fdcam", to=place),
    "LRP": lambda model, place: cc.LRP(model),
    "CLRP": lambda model, place: cc.CLRP(model),
    "SGLRP": lambda model, place: cc.SGLRP(model),
}


def explain(cam: cc.CAMAttribution, images: Tensor, target: Tensor) -> Tensor:
    parts = zip(images.split(8), target.split(8), strict=True)
    return torch.cat([cam.attribute(x, t, relu_attributions=True) for x, t in parts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=100)
    args = parser.parse_args()

    model, images, _ = load(args.data, args.limit)
    model = model.to(memory_format=torch.channels_last)  # a third faster on a CPU
    with torch.no_grad():
        target = torch.cat([model(batch) for batch in images.split(16)]).argmax(1)
    pictures, labels, boxes = boxed(args.data / "imagenet_boxes")
    print(f"{len(images)} images, predicted class; energy on {len(pictures)}, labelled class; mean ± standard error\n")
    print("| to | method | average drop ↓ | average increase ↑ | deletion ↓ | insertion ↑ | over-all ↑ | energy ↑ |")
    print("|" + "---|" * 8)
    for place in PLACES:
        for name, make in METHODS.items():
            if (place == "input" and name in ("Grad-CAM", "Layer-CAM")) or (place != "input" and "LRP" in name):
                continue
            cam = make(model, place)
            maps = explain(cam, images, target)
            deletion = curve_area(deletion_curve(model, images, maps, target, preset=PROTOCOL))
            insertion = curve_area(insertion_curve(model, images, maps, target, preset=PROTOCOL))
            drop = torch.cat([_half(average_drop, model, *part) for part in _parts(images, maps, target)])
            increase = torch.cat([_half(average_increase, model, *part) for part in _parts(images, maps, target)])
            inside = energy_inside(explain(cam, pictures, labels), boxes, (224, 224))
            cells = [_cell(drop, 1), _cell(increase, 1)]
            cells += [_cell(values, 3) for values in (deletion, insertion, insertion - deletion, inside)]
            print(f"| {place} | {name} | " + " | ".join(cells) + " |", flush=True)


def _parts(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    return list(zip(*(tensor.split(16) for tensor in tensors), strict=True))


def _half(measure: Callable[..., Tensor], model: nn.Module, images: Tensor, maps: Tensor, target: Tensor) -> Tensor:
    return measure(model, images, maps, target, masking="fgcam")


def _cell(values: Tensor, digits: int) -> str:
    return f"{values.mean():.{digits}f} ± {values.std() / len(values) ** 0.5:.{digits}f}"


if __name__ == "__main__":
    main()
