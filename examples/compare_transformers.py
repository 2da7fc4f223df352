"""Compare a small vision transformer with a convolutional network: which methods explain them faithfully?

    python examples/compare_transformers.py [--images 200] [--out FOLDER]

This trains both networks on the drawn images of shapes.py (some minutes on two cores). It measures the maps of the
labelled class, which is the largest of three shapes: deletion, insertion, pointing game and energy. The tables go to
FOLDER/shapes_vit.md, and a picture of both networks, side by side, to FOLDER/shapes_vit.png.
"""

import argparse
from pathlib import Path

import pytorch_lightning as pl
import torch
from PIL import Image
from shapes import CLASSES, Shapes
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.models import VisionTransformer
from torchvision.models.vision_transformer import ConvStemConfig
from torchvision.transforms import Compose, Normalize, RandomHorizontalFlip
from train_shapes import MEAN, STD, Classifier, SmallCNN

import captum_cams as cc
from captum_cams import visual
from captum_cams.metrics import METRICS, Protocol
from lightning_callbacks import Table, evaluate

CAMS = ("gradcam", "hirescam", "layercam", "fdcam", "ablationcam", "scorecam", "liftcam", "eigencam", "reciprocam")
ATTENTION = ("vitreciprocam", "attentionrollout", "chefer", "legrad")
BASELINES = ("random", "centre")
SHOWN = {
    "CNN": ("gradcam", "layercam", "fdcam", "scorecam", "liftcam", "reciprocam"),
    "ViT": ("gradcam", "fdcam", "liftcam", "attentionrollout", "chefer", "legrad"),
}
MEASURED = Protocol(("deletion_auc", "insertion_auc", "pointing_game", "energy"), classes="annotated")


class SmallViT(Classifier):
    """The vision transformer of torchvision with 8×8 patches of 8 pixels, four layers and 96 channels.

    Three convolutions make the patches: so it learns from few images (Xiao et al., NeurIPS 2021).
    """

    def __init__(self, classes: int, steps: int) -> None:
        super().__init__(classes, steps, 2e-3)
        stem = [ConvStemConfig(channels, 3, 2) for channels in (24, 48, 96)]
        self.network = VisionTransformer(64, 8, 4, 4, 96, 192, num_classes=classes, conv_stem_configs=stem)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


class Largest(Dataset):
    """Images, each with the class and the box of its largest shape."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        image, label = self.shapes[index]
        return image, {"labels": label[None], "boxes": self.shapes.boxes[index, :1]}


def trained(build: type[Classifier], images: Shapes, epochs: int) -> Classifier:
    """Train a network of this class."""
    pl.seed_everything(0)
    loader = DataLoader(images, 64, shuffle=True, drop_last=True)
    model = build(len(CLASSES), epochs * len(loader))
    trainer = pl.Trainer(max_epochs=epochs, gradient_clip_val=1.0, logger=False, enable_checkpointing=False, devices=1)
    trainer.fit(model, loader)
    return model.eval()


def probabilities(model: Classifier, shapes: Shapes) -> Tensor:
    """The probabilities of all classes, N×classes."""
    with torch.no_grad():
        return torch.cat([model(batch) for batch, _ in DataLoader(shapes, 100)]).softmax(1)


def written(table: Table) -> str:
    """A table without the times, which differ from run to run."""
    arrows = [f"{name} {'↑' if METRICS[name].higher_is_better else '↓'}" for name in table.metrics]
    lines = [["method", *arrows], ["---"] * (1 + len(arrows))]
    for method in table.methods:
        cells = [table[method, name] for name in table.metrics]
        lines.append([method, *(f"{cell.mean:.3f} ± {cell.standard_error:.3f}" for cell in cells)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def compared(table: Table) -> str:
    """The best attention method against the best CAM by each metric, on the same images."""
    lines = ["| metric | best attention method | best CAM | difference |", "|---|---|---|---|"]
    for name in table.metrics:
        better = 1 if METRICS[name].higher_is_better else -1
        ours, theirs = (max(kind, key=lambda m: better * table[m, name].mean) for kind in (ATTENTION, CAMS))
        change = (table.rows(ours)[name] - table.rows(theirs)[name]).double()
        error = 1.96 * float(change.std()) / len(change) ** 0.5
        found = f"{float(change.mean()):+.3f} ± {error:.3f}"
        lines.append(
            f"| {name} | {ours} {table[ours, name].mean:.3f} | {theirs} {table[theirs, name].mean:.3f} | {found} |"
        )
    return "\n".join(lines)


def side_by_side(models: dict[str, Classifier], shapes: Shapes, count: int = 4) -> Image.Image:
    """Draw the maps of the labelled class of the first images, for both networks."""
    images, labels = torch.stack([shapes[i][0] for i in range(count)]), shapes.labels[:count]
    panels = []
    for kind, model in models.items():
        maps = {name: cc.create(name, model).attribute(images, labels) for name in SHOWN[kind]}
        sure = probabilities(model, shapes)[range(count), labels].tolist()
        captions = [f"{CLASSES[label]}, {kind}: p = {p:.2f}" for label, p in zip(labels.tolist(), sure, strict=True)]
        panels.append(torch.from_numpy(visual.panel(images, maps, captions, mean=MEAN, std=STD)))
    picture = Image.fromarray(torch.cat(panels, 1).numpy())
    return picture.resize((picture.width // 2, picture.height // 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200, help="number of images to explain (default: %(default)s)")
    parser.add_argument("--train", type=int, default=6000, help="number of images to train on (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=12, help="for the transformer; the other network takes a third")
    parser.add_argument("--out", type=Path, metavar="FOLDER", default=Path("docs"), help="folder for table and picture")
    args = parser.parse_args()

    normalise = Normalize(MEAN, STD)
    train = Shapes(args.train, seed=0, transform=Compose([RandomHorizontalFlip(), normalise]))
    models = {
        "CNN": trained(SmallCNN, train, max(args.epochs // 3, 1)),
        "ViT": trained(SmallViT, train, args.epochs),
    }
    shapes = Shapes(args.images, seed=1, transform=normalise)
    methods = {"CNN": (*CAMS, "lrp", *BASELINES), "ViT": (*CAMS, *ATTENTION, "lrp", *BASELINES)}
    parts = ["# Maps of a small vision transformer and of a convolutional network\n"]
    parts.append(
        f"Written by `python examples/compare_transformers.py`: {args.images} drawn images, the class of the largest "
        "of three shapes, mean ± standard error."
    )
    for kind, model in models.items():
        right = (probabilities(model, shapes).argmax(1) == shapes.labels).float().mean()
        table = evaluate(model, DataLoader(Largest(shapes), 50), methods[kind], protocol=MEASURED)
        parts.append(f"\n## {kind}\n\nAccuracy on these images: {float(right):.1%}.\n\n{written(table)}")
    parts.append(
        "\n## Do attention methods beat class activation maps?\n\nThe best of each kind on the transformer, chosen on "
        f"these images; the difference has its 95 % interval.\n\n{compared(table)}\n"
    )
    parts.append("![Maps of both networks](shapes_vit.png)\n")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "shapes_vit.md").write_text("\n".join(parts), encoding="utf-8")
    side_by_side(models, shapes).save(args.out / "shapes_vit.png")


if __name__ == "__main__":
    main()
