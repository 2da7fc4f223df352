"""Put metrics on trial on photographs with SqueezeNet, or on CIFAR-10 with ResNet-56, with many methods at once.

    python examples/try_metrics.py squeezenet --data DIR --out FOLDER [--methods gradcam fdcam ...] [--limit 100]

DIR is the folder of ``compare_methods.py`` for squeezenet, and that of ``evaluate_cifar.py`` for resnet56. Each map is
computed once and stored in FOLDER/maps; the trial then reads it again for each replacement of the removed pixels.
FOLDER/trial.md is the report. The same command continues after an interruption.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from compare_methods import load as load_photographs
from evaluate_cifar import load as load_cifar
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

import captum_cams as cc
from captum_cams.metrics import PRESETS, Protocol
from lightning_callbacks import evaluate, trial

METHODS = (
    "gradcam gradcamplusplus layercam gradcamelementwise eigencam kpcacam fem fdcam liftcam relevancecam "
    "fgcam(gradcam) lrp fullgrad zoomcam jittercam(gradcam)"
).split()
METRICS = ("deletion_auc", "insertion_auc", "over_all", "average_drop", "average_increase", "complexity", "sparseness")


def load(network: str, data: Path, limit: int) -> tuple[torch.nn.Module, Dataset]:
    """Load the network and its first images with their labels, which no metric here reads."""
    if network == "resnet56":
        model, whole = load_cifar(data, 56)
        return model, Subset(whole, range(min(limit, len(whole))))
    model, images, _ = load_photographs(data, limit)
    return model, TensorDataset(images, torch.zeros(len(images), dtype=torch.int64))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=("squeezenet", "resnet56"))
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with weights and images")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder for maps and report")
    parser.add_argument("--methods", nargs="+", default=METHODS, help="names of methods")
    parser.add_argument("--replacements", nargs="+", default=["zero", "blur", "mean", "noise", "linear"])
    parser.add_argument("--limit", type=int, default=100, help="number of images (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="steps of the curves (default: %(default)s)")
    args = parser.parse_args()

    model, data = load(args.network, args.data, args.limit)
    model = model.to(memory_format=torch.channels_last)  # twice as fast on a CPU
    loader = DataLoader(data, 10)
    maps = args.out / "maps"
    evaluate(model, loader, args.methods, metrics="complexity", out=args.out / "first", save_maps=maps)
    stored = {name: cc.StoredMaps(maps, name) for name in args.methods}
    protocol = Protocol(METRICS, preset=replace(PRESETS["quick"], steps=args.steps))
    trial(model, loader, stored, replacements=args.replacements, protocol=protocol, out=args.out)


if __name__ == "__main__":
    main()
