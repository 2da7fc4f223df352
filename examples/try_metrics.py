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
from pytorch_lightning import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import captum_cams as cc
from captum_cams.metrics import PRESETS, Protocol
from lightning_callbacks import evaluate, trial

METHODS = [
    "gradcam",
    "gradcamplusplus",
    "layercam",
    "gradcamelementwise",
    "eigencam",
    "kpcacam",
    "fem",
    "fdcam",
    "liftcam",
    "relevancecam",
    "fgcam(gradcam)",
    "lrp",
    "fullgrad",
    "zoomcam",
    "jittercam(gradcam)",
]
METRICS = ("deletion_auc", "insertion_auc", "over_all", "average_drop", "average_increase", "complexity", "sparseness")


def load(network: str, data: Path, limit: int) -> tuple[nn.Module, Tensor]:
    """Load the network and its first images."""
    if network == "resnet56":
        model, whole = load_cifar(data, 56)
        return model, whole.tensors[0][:limit]
    model, images, _ = load_photographs(data, limit)
    return model.to(memory_format=torch.channels_last), images  # twice as fast on a CPU


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=("squeezenet", "resnet56"))
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with weights and images")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder for maps and report")
    parser.add_argument("--methods", nargs="+", default=METHODS, help="names of methods")
    parser.add_argument("--replacements", nargs="+", default=["zero", "blur", "mean", "noise", "linear"])
    parser.add_argument("--limit", type=int, default=100, help="number of images (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="steps of the curves (default: %(default)s)")
    parser.add_argument("--precision", default="32-true", help="of the scores in the trial, as Lightning names it")
    args = parser.parse_args()

    model, images = load(args.network, args.data, args.limit)
    with torch.no_grad():
        predicted = torch.cat([model(batch).argmax(1) for batch in images.split(10)])
    loader = DataLoader(TensorDataset(images, predicted), 10)
    maps, quick = args.out / "maps", replace(PRESETS["quick"], steps=args.steps)
    # The class is the predicted one in full precision; "annotated" keeps it where a lower precision changes the scores.
    first, second = (Protocol(names, classes="annotated", preset=quick) for names in (("complexity",), METRICS))
    evaluate(model, loader, args.methods, protocol=first, out=args.out / "first", save_maps=maps)
    stored = {name: cc.StoredMaps(maps, name) for name in args.methods}
    trainer = Trainer(precision=args.precision, logger=False, enable_checkpointing=False)
    trial(model, loader, stored, replacements=args.replacements, protocol=second, out=args.out, trainer=trainer)


if __name__ == "__main__":
    main()
