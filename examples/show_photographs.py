"""Explain photographs that come with scikit-image, and draw what the README shows.

    python examples/show_photographs.py                     # downloads the weights of SqueezeNet, 5 MB
    python examples/show_photographs.py --weights FILE      # a state dict of torchvision's squeezenet1_0
    python examples/show_photographs.py --out docs/pictures # writes methods.png and one_image.png there

The photographs are in the public domain: a cat by Stéfan van der Walt and a cup of espresso by Rachel Michetti. Needs
scikit-image.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image
from skimage import data
from torchvision.models import SqueezeNet1_0_Weights, squeezenet1_0

import captum_cams as cc
from captum_cams import visual

METHODS = ("gradcam", "fdcam", "layercam", "fgcam(gradcam)", "sglrp")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="file with a state dict; without it, torchvision's are downloaded")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder for the pictures")
    args = parser.parse_args()

    weights = SqueezeNet1_0_Weights.IMAGENET1K_V1
    prepare, names = weights.transforms(), weights.meta["categories"]
    model = squeezenet1_0(weights=None if args.weights else weights).eval()
    if args.weights:
        model.load_state_dict(torch.load(args.weights, map_location="cpu", weights_only=True))
    photographs = [Image.fromarray(photograph) for photograph in (data.chelsea(), data.coffee())]
    true = ("Egyptian cat", "espresso")
    args.out.mkdir(parents=True, exist_ok=True)

    explanation = cc.show(model, photographs[0], prepare=prepare, class_names=names, true=true[0])
    print(explanation)
    explanation.draw(width=5).pixels().save(args.out / "one_image.png")

    images = torch.stack([prepare(photograph) for photograph in photographs])
    with torch.no_grad():
        best = model(images).softmax(1).max(1)
    captions = [
        visual.Caption(f"{names[index]}, p = {p:.2f}", right=names[index] == right)
        for p, index, right in zip(best.values.tolist(), best.indices.tolist(), true, strict=True)
    ]
    maps = {name: cc.create(name, model).attribute(images, best.indices) for name in METHODS}
    figure = visual.draw_panel(images, maps, captions, mean=prepare.mean, std=prepare.std, width=6.75)
    figure.pixels().save(args.out / "methods.png")
    print(f"wrote one_image.png and methods.png to {args.out.resolve()}")


if __name__ == "__main__":
    main()
