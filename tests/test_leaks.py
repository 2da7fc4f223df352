"""Five hundred epochs leave nothing behind."""

import gc
import threading
import tracemalloc

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from lightning_callbacks import CAMCallback
from tests.lightning_modules import Net, trainer
from tests.test_callback import pytestmark as ignored

pytestmark = [pytest.mark.slow, *ignored]


class Measuring(pl.Callback):
    """Memory and what hangs on the module, at the end of each epoch."""

    def __init__(self):
        self.bytes, self.tensors, self.hooks = [], [], []

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch % 50:
            return
        gc.collect()
        self.bytes.append(tracemalloc.get_traced_memory()[0])
        self.tensors.append(sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects()))
        modules = list(pl_module.modules())
        self.hooks.append(
            sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in modules)
        )


def test_memory_hooks_and_threads_after_500_epochs(tmp_path):
    images, labels = torch.rand(4, 3, 12, 12), torch.tensor([0, 1, 2, 0])
    loader = DataLoader(TensorDataset(images, labels), 4)
    callback = CAMCallback(["gradcam", "fdcam"], num_images=2, metrics=("average_drop", "drift"))
    threads, measuring = threading.active_count(), Measuring()
    run = trainer(tmp_path, callbacks=[callback, measuring], logger=False, max_epochs=501, enable_checkpointing=False)
    tracemalloc.start()
    run.fit(Net(), loader, loader)
    tracemalloc.stop()
    assert len(measuring.bytes) == 11
    assert measuring.tensors[-1] == measuring.tensors[2]
    assert measuring.bytes[-1] - measuring.bytes[2] < 100_000  # over 400 epochs
    assert set(measuring.hooks) == {0}
    assert threading.active_count() == threads
