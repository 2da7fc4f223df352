"""Short training runs with the callback, and what they left behind."""

import pytorch_lightning as pl
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_callbacks import CAMCallback
from tests.support.lightning_modules import Net, loaders, trainer


def events(run: pl.Trainer) -> EventAccumulator:
    accumulator = EventAccumulator(run.log_dir, size_guidance={"images": 0, "scalars": 0})
    return accumulator.Reload()


def fit(path, *callbacks, model=None, **options):
    pl.seed_everything(7)
    model = model or Net()
    run = trainer(path, callbacks=list(callbacks), **options)
    run.fit(model, *loaders())
    return run, model


class Watching(pl.Callback):
    """Keeps ``explained`` of each epoch that explains; comes after the watched callback in the list of a Trainer."""

    def __init__(self, callback: CAMCallback) -> None:
        self.callback, self.epochs, self.turns = callback, [], []

    def on_validation_end(self, trainer, pl_module):
        now, before = self.callback.explained, self.epochs[-1] if self.epochs else {}
        if now and all(rows is not before.get(name) for name, rows in now.items()):
            self.epochs.append(now)
            self.turns.append((trainer.current_epoch, trainer.global_step))

    def images(self, split: str = "validation") -> list[torch.Tensor]:
        """The explained images of each epoch."""
        return [torch.stack([row.image for row in epoch[split]]) for epoch in self.epochs if split in epoch]
