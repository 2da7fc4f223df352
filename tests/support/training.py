"""Short training runs with the callback, and what they left behind."""

import pytorch_lightning as pl
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

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


def shown(callback):
    kept, inner = [], callback._report.log
    callback._report.log = lambda *a: kept.append(torch.stack([row.image for row in a[3]])) or inner(*a)
    return kept
