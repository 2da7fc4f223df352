"""What the progress bar says."""

import io
import re
import time

import pytorch_lightning as pl
import rich.console
import rich.progress
from pytorch_lightning.callbacks import RichProgressBar, TQDMProgressBar
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


class RichBars(RichProgressBar):
    """Remembers the lines that are drawn after each batch."""

    def __init__(self) -> None:
        super().__init__(console_kwargs={"file": io.StringIO(), "width": 120})
        self.said: list[str] = []

    def on_test_batch_end(self, *args, **options) -> None:
        super().on_test_batch_end(*args, **options)
        console = rich.console.Console(width=120, file=io.StringIO(), record=True)
        console.print(self.progress.get_renderable())
        self.said.append(console.export_text())


def test_richs_bar_says_how_long_each_method_takes():
    bars = RichBars()
    options = {"logger": False, "enable_checkpointing": False, "accelerator": "cpu", "enable_model_summary": False}
    protocol, methods = Protocol(("complexity",)), {"centre": "centre", "my[red]": "random"}  # brackets are no colour
    evaluate(network(), loader(6), methods, protocol=protocol, trainer=pl.Trainer(**options, callbacks=bars))
    assert len(bars.said) == 2
    for batch, said in enumerate(bars.said, 1):
        assert re.search(rf"Testing centre \d\S* s, my\[red\] \d\S* s .* {batch}/2", said), said


def test_the_time_left_of_richs_bar_does_not_count_the_batches_before():
    bars = RichProgressBar()
    trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", callbacks=bars)
    seconds = iter(range(0, 1000, 10))
    bars.progress = rich.progress.Progress(disable=True, get_time=lambda: next(seconds))
    bars.test_progress_bar_id = bars.progress.add_task("Testing", total=100)
    for number in (30, 60, 90):  # batches that were finished before, which are only skipped
        bars.progress.update(bars.test_progress_bar_id, completed=number)
    progress = Progress(trainer)
    progress.begin(90)
    task = bars.progress.tasks[0]
    assert (task.completed, task.total, task.speed) == (90, 100, None)
    progress.add("gradcam", 1.0, 1)
    progress.begin(95)  # only once
    assert task.completed == 90


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
