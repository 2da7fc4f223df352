"""Five hundred epochs leave nothing behind."""

import gc
import resource
import threading

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from lightning_callbacks import CAMCallback
from tests.support.lightning_modules import Net, trainer
from tests.support.untouched import hooks

pytestmark = pytest.mark.slow


class Measuring(pl.Callback):
    """Memory and what hangs on the module, at the end of each epoch."""

    def __init__(self):
        self.peak, self.tensors, self.hooks = [], [], []

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch % 50:
            return
        gc.collect()
        self.peak.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        self.tensors.append(sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects()))
        self.hooks.append(sum(hooks(pl_module)))


def test_memory_hooks_and_threads_after_500_epochs(tmp_path):
    images, labels = torch.rand(4, 3, 12, 12), torch.tensor([0, 1, 2, 0])
    loader = DataLoader(TensorDataset(images, labels), 4)
    callback = CAMCallback("gradcam", num_images=2, metrics=("average_drop", "drift"))
    options = {"logger": False, "enable_checkpointing": False}
    trainer(tmp_path, callbacks=[callback], max_epochs=1, **options).fit(Net(), loader, loader)
    threads, measuring = threading.active_count(), Measuring()
    run = trainer(tmp_path, callbacks=[callback, measuring], max_epochs=501, **options)
    run.fit(Net(), loader, loader)
    assert len(measuring.tensors) == 11
    assert measuring.tensors[-1] == measuring.tensors[1]
    assert measuring.peak[-1] - measuring.peak[1] < 8  # MiB, over 450 epochs
    assert set(measuring.hooks) == {0}
    assert threading.active_count() == threads
