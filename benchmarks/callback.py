"""Measure how much time CAMCallback adds to a validation epoch: ``python -m benchmarks.callback``.

The epoch has 1,000 images of 224×224 pixels, and the network is ResNet-18.
"""

import argparse
import time
import warnings

import pytorch_lightning as pl
import torch
import torchvision
from torch.utils.data import DataLoader, Dataset

from lightning_callbacks import CAMCallback


class Noise(Dataset):
    """A data set that repeats a few images, so that reading them takes no time."""

    def __init__(self, count: int) -> None:
        self.count, self.images = count, torch.randn(16, 3, 224, 224)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.images[index % 16], index % 10


class Module(pl.LightningModule):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.model = torchvision.models.get_model(name, weights=None)

    def validation_step(self, batch, batch_idx):
        self.log("loss", torch.nn.functional.cross_entropy(self.model(batch[0]), batch[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--methods", nargs="+", default=["gradcam", "fdcam"])
    parser.add_argument("--images", type=int, default=1000)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    module, loader = Module(args.network), DataLoader(Noise(args.images), 32)

    def seconds(callbacks: list[pl.Callback]) -> float:
        trainer = pl.Trainer(
            callbacks=callbacks, logger=pl.loggers.TensorBoardLogger("callback_benchmark"), enable_progress_bar=False
        )
        start = time.perf_counter()
        trainer.validate(module, loader, verbose=False)
        return time.perf_counter() - start

    seconds([])
    print("| method | seconds of the epoch | added |\n| --- | --- | --- |")
    for method in args.methods:
        plain, watched = seconds([]), seconds([CAMCallback(method)])
        print(f"| {method} | {plain:.1f} | {100 * (watched / plain - 1):.0f} % |", flush=True)


if __name__ == "__main__":
    main()
