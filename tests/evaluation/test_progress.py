"""What the progress bar says."""

import io
import re
import time

import pytorch_lightning as pl
from pytorch_lightning.callbacks import TQDMProgressBar
from tqdm import tqdm

from lightning_callbacks import Protocol, evaluate
from lightning_callbacks.evaluation.progress import Progress
from tests.support.evaluation_run import loader, network


class Bars(TQDMProgressBar):
    """Remembers the text behind the bar after each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def on_test_batch_end(self, *args, **options) -> None:
        super().on_test_batch_end(*args, **options)
        self.said.append(str(self.test_progress_bar))


def test_the_bar_says_how_long_each_method_takes():
    bars = Bars()
    options = {"logger": False, "enable_checkpointing": False, "accelerator": "cpu", "enable_model_summary": False}
    protocol = Protocol(("complexity",))
    evaluate(
        network(), loader(4), ["centre", "random"], protocol=protocol, trainer=pl.Trainer(**options, callbacks=bars)
    )
    assert len(bars.said) == 3
    for said in bars.said:
        assert re.search(r"centre \d\S* s, random \d\S* s", said), said


def test_the_time_left_does_not_count_the_batches_that_were_finished_before():
    options = {"logger": False, "enable_checkpointing": False, "accelerator": "cpu"}
    trainer = pl.Trainer(**options, callbacks=TQDMProgressBar())  # not the other one, which a package may bring in
    trainer.progress_bar_callback.test_progress_bar = bar = tqdm(total=100, file=io.StringIO())
    bar.n, bar.start_t = 90, time.time() - 90
    progress = Progress(trainer)
    progress.begin(90)
    assert bar.initial == 90
    assert time.time() - bar.start_t < 60
    progress.add("gradcam", 3.0, 4)
    progress.add("gradcam", 1.0, 4)
    assert str(progress) == "gradcam 0.5 s"
    progress.begin(95)  # only once
    assert bar.initial == 90
    bar.close()
