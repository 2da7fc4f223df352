"""Compare methods on photographs with SqueezeNet: deletion and insertion, mean and standard error.

    python examples/compare_methods.py --data DIR --methods gradcam layercam fdcam --limit 50

DIR must hold:
    squeezenet1_0_imagenet.pt   the weights, a state dict of torchvision's SqueezeNet 1.0
    imagenet_samples/           images, with labels.csv (columns file, class_index, class_name)

For your own model and images, use "captum-cams evaluate".
"""

import argparse
import csv
from pathlib import Path

import torch
import torchvision
from PIL import Image
from torch import Tensor

import captum_cams as cc
from captum_cams import visual
from captum_cams.metrics import curve_area, deletion_curve, insertion_curve
from lightning_callbacks.command.read_image import read_image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
preprocess = torchvision.transforms.Compose(
    [
        torchvision.transforms.Resize(256),
        torchvision.transforms.CenterCrop(224),
        torchvision.transforms.ToTensor(),
        torchvision.transforms.Normalize(MEAN, STD),
    ]
)


def load(data: Path, limit: int) -> tuple[torch.nn.Module, Tensor, list[str]]:
    """Load SqueezeNet, the first images of the folder, and their class names."""
    model = torchvision.models.squeezenet1_0(weights=None)
    model.load_state_dict(torch.load(data / "squeezenet1_0_imagenet.pt", map_location="cpu", weights_only=True))
    folder = data / "imagenet_samples"
    with open(folder / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))[:limit]
    images = torch.stack([preprocess(read_image(folder / row["file"])) for row in rows])
    return model.eval(), images, [row["class_name"] for row in rows]


def boxed(folder: Path) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Load the images of a folder, squeezed to 224×224, with their classes and boxes; labels.csv has x0, y0, x1, y1."""
    images, labels, boxes = {}, {}, {}
    with open(folder / "labels.csv", newline="") as file:
        for row in csv.DictReader(file):
            picture = read_image(folder / row["file"])
            images[row["file"]] = preprocess(picture.resize((224, 224)))
            labels[row["file"]] = int(row["class_index"])
            scale = [224 / side for side in picture.size * 2]
            corners = [round(int(row[key]) * by) for key, by in zip(("x0", "y0", "x1", "y1"), scale, strict=True)]
            boxes.setdefault(row["file"], []).append(corners)
    each = [torch.tensor(corners) for corners in boxes.values()]
    return torch.stack(list(images.values())), torch.tensor(list(labels.values())), each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with weights and images")
    parser.add_argument("--methods", nargs="+", default=["gradcam", "layercam", "fdcam"], help="names of methods")
    parser.add_argument("--limit", type=int, default=50, help="number of images (default: %(default)s)")
    parser.add_argument("--preset", default="jittercam", help="how pixels are replaced (default: %(default)s)")
    parser.add_argument("--panel", type=Path, help="PNG file for the heat maps of the first ten images")
    args = parser.parse_args()

    model, images, labels = load(args.data, args.limit)
    with torch.no_grad():
        scores = torch.cat([model(batch) for batch in images.split(16)]).softmax(1)
    target = scores.argmax(1)
    random = torch.rand(len(images), 1, 13, 13, generator=torch.Generator().manual_seed(0))
    maps = {"random": random}
    for name in args.methods:
        cam = cc.create(name, model)
        maps[name] = torch.cat([cam.attribute(x, t) for x, t in zip(images.split(8), target.split(8), strict=True)])

    print(f"{len(images)} images, {args.preset}, predicted class; mean ± standard error")
    print(f"{'':12}{'deletion':>18}{'insertion':>18}{'over-all':>18}")
    for name, map_ in maps.items():
        deletion = curve_area(deletion_curve(model, images, map_, target, preset=args.preset))
        insertion = curve_area(insertion_curve(model, images, map_, target, preset=args.preset))
        cells = (deletion, insertion, insertion - deletion)
        print(f"{name:12}" + "".join(f"{v.mean():9.3f} ± {v.std() / len(v) ** 0.5:.3f}".rjust(18) for v in cells))
    if args.panel:
        first = slice(0, 10)
        captions = [f"{label} (p = {s.max():.2f})" for label, s in zip(labels[first], scores[first], strict=True)]
        overlays = {name: map_[first] for name, map_ in maps.items() if name != "random"}
        Image.fromarray(visual.panel(images[first], overlays, captions, mean=MEAN, std=STD)).save(args.panel)


if __name__ == "__main__":
    main()
