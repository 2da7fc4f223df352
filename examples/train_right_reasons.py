"""Train a network on images with a planted mark, with and without a loss that keeps its explanations on the object.

    python examples/train_right_reasons.py                # a few minutes on two cores
    python examples/train_right_reasons.py --weight 0.3   # a weaker loss

In training, the colour of a small square in the corner tells the class, so a network need not look at the shapes. The
table says what each network is worth where the square is missing or tells another class, and how much of its
Layer-CAM lies on the object.
"""

import argparse

import pytorch_lightning as pl
import torch
from shapes import CLASSES, Shapes
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Normalize
from train_shapes import MEAN, STD, SmallCNN

import captum_cams as cc
from captum_cams.metrics import energy_inside

COLOURS = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1]])
"""The colour of the square for each class."""


class Marked(Dataset):
    """Drawn shapes with a square in the corner; the mask shows the shape that makes the label.

    Args:
        shapes: the images.
        told: the class that the square of each image tells, N; None draws no square.
    """

    def __init__(self, shapes: Shapes, told: Tensor | None) -> None:
        images = shapes.images.clone()
        if told is not None:
            side = images.shape[2] // 8
            images[:, :, :side, :side] = COLOURS[told][:, :, None, None]
        self.images, self.labels, self.masks = Normalize(MEAN, STD)(images), shapes.labels, shapes.masks[:, 0]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        return self.images[index], self.labels[index], self.masks[index]


class RightReasons(SmallCNN):
    """The network of ``train_shapes.py``, trained with the loss of its Layer-CAM outside of the object.

    Args:
        steps: of the training.
        weight: of that loss; 0 leaves it out.
    """

    def __init__(self, steps: int, weight: float) -> None:
        super().__init__(len(CLASSES), steps)
        self.weight = weight

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        images, labels, masks = batch
        loss = super().training_step((images, labels))
        if self.weight:
            maps = explained(self).attribute(images, labels, differentiable=True)
            outside = cc.ExplanationLoss(masks)(maps)
            self.log("outside", outside)
            loss = loss + self.weight * outside
        return loss


def explained(module: RightReasons) -> cc.CAMAttribution:
    """The explainer: Layer-CAM of a shallow layer, whose positions see squares of 10 pixels and not the whole image."""
    return cc.LayerCAM(module, "features.7")


def trained(data: Dataset, epochs: int, weight: float) -> RightReasons:
    """Train a network from the same start, on the same batches."""
    pl.seed_everything(0, verbose=False)
    loader = DataLoader(data, batch_size=min(64, len(data)), shuffle=True, drop_last=True)
    module = RightReasons(epochs * len(loader), weight)
    options = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    pl.Trainer(max_epochs=epochs, accelerator="auto", devices=1, enable_progress_bar=False, **options).fit(
        module, loader
    )
    return module.eval()


@torch.no_grad()
def accuracy(module: RightReasons, data: Marked) -> float:
    """The share of the images whose class is predicted."""
    found = torch.cat([module(images).argmax(1) for images in data.images.split(100)])
    return float((found == data.labels).float().mean())


def inside(module: RightReasons, data: Marked) -> float:
    """The mean share of the maps on the object."""
    maps = torch.cat(
        [
            explained(module).attribute(images, labels)
            for images, labels in zip(data.images.split(100), data.labels.split(100), strict=True)
        ]
    )
    return float(energy_inside(maps, data.masks[:, None], data.images.shape[2:]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="for the training (default: %(default)s)")
    parser.add_argument("--size", type=int, default=48, help="side of the images in pixels (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=6, help="of each training (default: %(default)s)")
    parser.add_argument("--weight", type=float, default=1.0, help="of the loss (default: %(default)s)")
    args = parser.parse_args()

    shapes, others = Shapes(args.images, args.size, seed=0), Shapes(max(args.images // 4, 1), args.size, seed=1)
    drawn = torch.randint(1, len(CLASSES), others.labels.shape, generator=torch.Generator().manual_seed(2))
    wrong = (others.labels + drawn) % len(CLASSES)
    tests = [Marked(others, told) for told in (others.labels, None, wrong)]
    print("| loss | accuracy with the mark | without a mark | with a wrong mark | energy inside | without a mark |")
    print("|---|---|---|---|---|---|")
    for name, weight in (("cross entropy", 0.0), ("with ExplanationLoss", args.weight)):
        module = trained(Marked(shapes, shapes.labels), args.epochs, weight)
        cells = [f"{accuracy(module, data):.1%}" for data in tests]
        cells += [f"{inside(module, data):.3f}" for data in tests[:2]]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
