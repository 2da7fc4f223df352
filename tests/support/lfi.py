"""A small network of LFI-CAM, and one step of it in two processes."""

from datetime import timedelta
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributed import destroy_process_group, init_process_group
from torch.nn.parallel import DistributedDataParallel

import captum_cams as cc
from tests.support.networks import images, seeded

LABELS = torch.tensor([3, 1, 4, 0])


def lfi_network() -> cc.LFINetwork:
    return seeded(_small)


def _small() -> cc.LFINetwork:
    features = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU()),
        *(nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU()),
    )
    return cc.LFINetwork(features, 8, 10)


def gradients(model: nn.Module, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    F.cross_entropy(model(x), labels).backward()
    return {name.removeprefix("module."): p.grad for name, p in model.named_parameters()}


def half_of_a_step(rank: int, folder: str) -> None:
    """Run one step on half of the batch, and explain that half through the parallel model."""
    waits = timedelta(minutes=3)  # if the other process fails, this one raises
    init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=waits)
    try:
        model = DistributedDataParallel(lfi_network().double())
        x, labels = images(4).double()[rank::2], LABELS[rank::2]
        found = {"gradients": gradients(model, x, labels), "maps": cc.LFICAM(model).attribute(x)}
        torch.save(found, Path(folder) / f"rank{rank}.pt")
    finally:
        destroy_process_group()
