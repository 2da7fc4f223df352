"""Train a small network with the callback, and watch its explanations change in TensorBoard.

    python examples/train_shapes.py                      # draws its own images; a minute or two on two cores
    python examples/train_shapes.py --dataset cifar10    # downloads CIFAR-10
    python examples/train_shapes.py --data DIR           # your images, in one folder for each class

At its end, this prints the command that starts TensorBoard, and the page of the run.
"""

import argparse
from pathlib import Path

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from shapes import CLASSES, Shapes
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, random_split
from torchmetrics.classification import MulticlassAccuracy
from torchvision import datasets, transforms

from lightning_callbacks import CAMCallback

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


class Classifier(pl.LightningModule):
    """The training and the validation of a classifier; a subclass makes the network and writes ``forward``."""

    def __init__(self, classes: int, steps: int, rate: float) -> None:
        super().__init__()
        self.accuracy = MulticlassAccuracy(classes, average="micro")
        self.steps, self.rate = steps, rate

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        scores = self(batch[0])
        self.accuracy(scores, batch[1])
        self.log("val_loss", F.cross_entropy(scores, batch[1]))
        self.log("val_accuracy", self.accuracy, prog_bar=True)

    def configure_optimizers(self) -> dict:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.rate, total_steps=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class SmallCNN(Classifier):
    """A network of four convolutional blocks, global average pooling and one linear layer."""

    def __init__(self, classes: int, steps: int) -> None:
        super().__init__(classes, steps, 3e-3)
        blocks: list[nn.Module] = []
        for inside, outside in ((3, 24), (24, 48), (48, 96), (96, 128)):
            blocks += [
                nn.Conv2d(inside, outside, 3, padding=1, bias=False),
                nn.BatchNorm2d(outside),
                nn.ReLU(),
            ]
            if outside < 128:
                blocks.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*blocks)
        self.classifier = nn.Linear(128, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images).mean((2, 3)))


def data_sets(args: argparse.Namespace) -> tuple[Dataset, Dataset, tuple[str, ...] | list[str]]:
    """Make the training set and the validation set, with the names of the classes."""
    normalise = transforms.Normalize(MEAN, STD)
    if args.data:
        prepare = transforms.Compose([transforms.Resize((args.size, args.size)), transforms.ToTensor(), normalise])
        if (args.data / "train").is_dir():
            train = datasets.ImageFolder(args.data / "train", prepare)
            return train, datasets.ImageFolder(args.data / "val", prepare), train.classes
        images = datasets.ImageFolder(args.data, prepare)
        train, val = random_split(images, (0.8, 0.2), torch.Generator().manual_seed(0))
        return train, val, images.classes
    if args.dataset == "cifar10":
        prepare = transforms.Compose([transforms.ToTensor(), normalise])
        train = datasets.CIFAR10("cifar10", train=True, download=True, transform=prepare)
        val = datasets.CIFAR10("cifar10", train=False, download=True, transform=prepare)
        return train, val, train.classes
    train = Shapes(3000, args.size, seed=0, transform=normalise)
    return train, Shapes(600, args.size, seed=1, transform=normalise), CLASSES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=("shapes", "cifar10"), default="shapes", help="images to draw or download")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of each class, or train/ and val/ with these")
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=6, help="of the training (default: %(default)s)")
    args = parser.parse_args()

    pl.seed_everything(0)
    train, val, classes = data_sets(args)
    loader = DataLoader(train, batch_size=min(64, len(train)), shuffle=True, drop_last=True)
    model = SmallCNN(len(classes), args.epochs * len(loader))
    trainer = pl.Trainer(
        max_epochs=args.epochs,
        accelerator="auto",
        devices=1,
        callbacks=[CAMCallback(["gradcam", "fdcam"], mean=MEAN, std=STD, class_names=classes, report=True)],
    )
    trainer.fit(model, loader, DataLoader(val, batch_size=200))
    print(f"validation accuracy {float(trainer.callback_metrics['val_accuracy']):.1%}")
    print(f"tensorboard --logdir {trainer.log_dir}")
    print(f"or open {Path(trainer.log_dir or '.') / 'cam_report.html'} in a browser")


if __name__ == "__main__":
    main()
