"""Measure which method finds each of three shapes in an image, by the pointing game and the energy.

    python examples/evaluate_shapes.py [--methods gradcam fdcam ...] [--images 300] [--out FOLDER]

This trains the network of train_shapes.py (a minute or two on two cores), which learns to name the largest shape only.
It then explains all three classes of each image, as the paper of FD-CAM does to test whether maps tell classes apart
(Li et al., ICPR 2022, table II).
"""

import argparse
from pathlib import Path

import pytorch_lightning as pl
import torch
from shapes import CLASSES, Shapes
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Normalize
from train_shapes import MEAN, STD, SmallCNN

from lightning_callbacks import evaluate


class Boxed(Dataset):
    """Images, each with the classes and the boxes of its shapes."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        image, _ = self.shapes[index]
        return image, {"labels": self.shapes.kinds[index], "boxes": self.shapes.boxes[index]}


def trained(epochs: int, size: int) -> SmallCNN:
    """Train the network of train_shapes.py."""
    pl.seed_everything(0)
    images = Shapes(3000, size, seed=0, transform=Normalize(MEAN, STD))
    loader = DataLoader(images, 64, shuffle=True, drop_last=True)
    model = SmallCNN(len(CLASSES), epochs * len(loader))
    trainer = pl.Trainer(max_epochs=epochs, logger=False, enable_checkpointing=False, devices=1)
    trainer.fit(model, loader)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["random", "centre", "gradcam", "layercam", "fdcam"])
    parser.add_argument("--images", type=int, default=300, help="number of images to explain (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=6, help="of the training (default: %(default)s)")
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder for the table and its rows")
    args = parser.parse_args()

    model = trained(args.epochs, args.size)
    shapes = Shapes(args.images, args.size, seed=1, transform=Normalize(MEAN, STD))
    with torch.no_grad():
        scores = torch.cat([model(batch) for batch, _ in DataLoader(shapes, 100)]).softmax(1)
    print(f"accuracy {float((scores.argmax(1) == shapes.labels).float().mean()):.1%} on {len(shapes)} images")
    present = scores.gather(1, shapes.kinds).mean(0)
    print("mean probability of the largest, second and third shape: " + ", ".join(f"{p:.3f}" for p in present))
    loader = DataLoader(Boxed(shapes), 32)
    evaluate(
        model,
        loader,
        args.methods,
        metrics=["pointing_game", "energy"],
        protocol="fdcam_discriminability",
        out=args.out,
    )


if __name__ == "__main__":
    main()
