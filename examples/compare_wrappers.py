"""Compare wrappers with the methods that they are built on: is their map better?

    python examples/compare_wrappers.py --data DIR

On images with boxes, this measures deletion and insertion (preset "jittercam"), the localisation error at the best of
20 thresholds of each kind, and the pointing game with a margin of 15 pixels. It then repeats a check of the Jitter-CAM
paper: is the map of a small image, grown to the size of the map of a larger image, similar to that map?

DIR must hold the same files as for compare_depths.py.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from compare_methods import boxed, load
from scipy.stats import spearmanr

import captum_cams as cc
from captum_cams.metrics import (
    curve_area,
    deletion_curve,
    insertion_curve,
    localisation_error,
    pointing_game,
    region_overlap,
)

SIZE = (224, 224)
KINDS = ("value", "mean", "energy")
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "Grad-CAM": ("gradcam", {}),
    "Jitter-Grad-CAM, d = 4": ("jittercam(gradcam)", {"growth": 4}),
    "Jitter-Grad-CAM, d = 13": ("jittercam(gradcam)", {}),
    "FD-CAM": ("fdcam", {}),
    "Jitter-FD-CAM, d = 4": ("jittercam(fdcam)", {"growth": 4}),
    "SESS(Grad-CAM)": ("sess(gradcam)", {}),
    "Augmented Grad-CAM": ("augmentedcam(gradcam)", {}),
    "random": ("random", {}),
    "centre": ("centre", {}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with weights and images")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), help="rows of the table")
    args = parser.parse_args()

    model, samples, _ = load(args.data, 100)
    model = model.to(memory_format=torch.channels_last)
    images, labels, boxes = boxed(args.data / "imagenet_boxes")
    print(f"{len(images)} images, labelled class; mean ± standard error\n")
    print(
        "| map | deletion ↓ | insertion ↑ | error, value ↓ | error, mean ↓ | error, energy ↓ | pointing ↑ | s / image |"
    )
    print("|" + "---|" * 8)
    for name in args.methods:
        key, options = METHODS[name]
        cam = cc.create(key, model, **options)
        start = time.perf_counter()
        maps = torch.cat([cam.attribute(x, t) for x, t in zip(images.split(4), labels.split(4), strict=True)])
        seconds = (time.perf_counter() - start) / len(images)
        curves = [curve(model, images, maps, labels, preset="jittercam") for curve in (deletion_curve, insertion_curve)]
        areas = [curve_area(curve) for curve in curves]
        cells = [f"{area.mean():.3f} ± {area.std() / len(area) ** 0.5:.3f}" for area in areas]
        for kind in KINDS:
            cells.append(f"{100 * localisation_error(region_overlap(maps, boxes, SIZE, threshold=kind)):.0f} %")
        cells.append(f"{100 * pointing_game(maps, boxes, SIZE, margin=15).float().mean():.0f} %")
        print(f"| {name} | " + " | ".join(cells) + f" | {seconds:.2f} |", flush=True)

    print("\nThe map of 160 pixels, grown to the size of the map of 224 pixels; Spearman's rank correlation:")
    with torch.no_grad():
        target = torch.cat([model(batch) for batch in samples.split(16)]).argmax(1)
    small = F.interpolate(samples, (160, 160), mode="bilinear", antialias=True)
    plain = torch.cat(
        [cc.GradCAM(model).attribute(x, t) for x, t in zip(samples.split(8), target.split(8), strict=True)]
    )
    own = cc.GradCAM(model).attribute(small[:1]).shape[2]
    jitter = cc.JitterCAM(model, growth=plain.shape[2] - own)
    grown = jitter.attribute(small, target)
    pairs = zip(plain.flatten(1), grown.flatten(1), strict=True)
    ranks = torch.tensor([spearmanr(a, b).statistic for a, b in pairs if a.std() > 0 and b.std() > 0])
    error = ranks.std() / len(ranks) ** 0.5
    print(
        f"{own}×{own} grown to {plain.shape[2]}×{plain.shape[2]}: {ranks.mean():.2f} ± {error:.2f}, {len(ranks)} images"
    )


if __name__ == "__main__":
    main()
