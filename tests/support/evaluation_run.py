"""python evaluation_run.py OUT DEVICES [NODES]: an evaluation that tests start as a process of its own, and kill."""

import json
import sys
import warnings

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from lightning_callbacks import METRICS, evaluate

IMAGES = 11  # 2·5 + 1: the last batch and the ranks' shares are uneven


def network() -> nn.Module:
    torch.manual_seed(3)
    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()


class Boxed(Dataset):
    """Noise with two annotated classes in every other image."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(7)
        self.images = torch.rand(IMAGES, 3, 24, 24, generator=generator)

    def __len__(self):
        return IMAGES

    def __getitem__(self, i):
        boxes = torch.tensor([[2, 2, 10, 12], [12, 8, 20, 22], [0, 0, 6, 6]])[: 1 + 2 * (i % 2)]
        return self.images[i], {"labels": torch.tensor([i % 4, (i + 1) % 4, i % 4])[: len(boxes)], "boxes": boxes}


def loader(batch_size: int = 2) -> DataLoader:
    return DataLoader(Boxed(), batch_size, collate_fn=lambda items: tuple(zip(*items, strict=True)))


def quiet(**options) -> pl.Trainer:
    silent = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    return pl.Trainer(**silent, enable_model_summary=False, **options)


METHODS = ["random", "gradcam", "fdcam", "fgcam(gradcam)"]


def main() -> None:
    out, devices, nodes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1
    trainer = quiet(devices=devices, num_nodes=nodes, strategy="ddp" if devices * nodes > 1 else "auto")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = evaluate(network(), loader(), METHODS, metrics=METRICS, trainer=trainer, out=out)
    if trainer.is_global_zero:
        print(json.dumps({"rows": len(table.columns["image"]), "rank": trainer.global_rank}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
