"""All uses of private names of PyTorch Lightning; a test in ``tests/project`` checks that the names exist."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from torch import nn


def starts_own_processes(trainer: pl.Trainer) -> bool:
    """Whether the trainer starts its own processes, which return no result to this process."""
    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)


def logged_step(trainer: pl.Trainer) -> int:
    """The step at which Lightning logs the scalars of the current epoch."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


@contextmanager
def borrowed(trainer: pl.Trainer, model: nn.Module) -> Iterator[None]:
    """Lend model and trainer to another run, and restore the device, the modes and their connection afterwards."""
    device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    attached = [(module, module._trainer) for module in model.modules() if isinstance(module, pl.LightningModule)]
    training = [(module, module.training) for module in model.modules()]
    before = trainer.lightning_module
    try:
        with warnings.catch_warnings():
            yield
    finally:
        model.to(device)
        for module, mode in training:
            module.training = mode
        if before is not None:
            trainer.strategy.connect(before)
        for module, owner in attached:
            module._trainer = owner
