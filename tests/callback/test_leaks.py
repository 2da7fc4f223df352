"""Epochs leave nothing behind."""

import threading

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from lightning_callbacks import CAMCallback
from tests.support.lightning_modules import Net, trainer
from tests.support.untouched import alive, hooks


class Counting(pl.Callback):
    """What is alive and what hangs on the module, at the end of each epoch."""

    def __init__(self):
        self.alive, self.hooks = [], []

    def on_train_epoch_end(self, trainer, pl_module):
        self.alive.append(alive())
        self.hooks.append(sum(hooks(pl_module)))


@pytest.mark.slow
def test_ten_epochs_leave_no_tensor_no_object_no_hook_and_no_thread(tmp_path):
    pl.seed_everything(7)
    images, labels = torch.rand(4, 3, 12, 12), torch.tensor([0, 1, 2, 0])
    loader = DataLoader(TensorDataset(images, labels), 4)
    callback = CAMCallback("gradcam", num_images=2, metrics=("average_drop", "drift"))
    options = {"logger": False, "enable_checkpointing": False}
    trainer(tmp_path, callbacks=[callback], max_epochs=1, **options).fit(Net(), loader, loader)
    threads, counting = threading.active_count(), Counting()
    run = trainer(tmp_path, callbacks=[callback, counting], max_epochs=13, **options)
    run.fit(Net(), loader, loader)
    assert torch.isfinite(run.callback_metrics["cam/gradcam/average_drop"])
    (_, objects, entries), last = counting.alive[2], counting.alive[12]
    tensors = [count for count, _, _ in counting.alive]
    assert max(tensors[7:]) <= max(tensors[:7])  # a map without spread has no drift, so a few come and go
    assert last[1] - objects < 8  # not one for each of ten epochs
    assert last[2] - entries < 8 + 10 * 2  # Counting itself writes two entries an epoch
    assert set(counting.hooks) == {0}
    assert threading.active_count() == threads
