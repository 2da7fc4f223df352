"""Show in the progress bar how long each method takes, and how long the rest takes after a restart."""

import time

import pytorch_lightning as pl
from pytorch_lightning.callbacks import TQDMProgressBar
from tqdm import tqdm


class Progress:
    """The time that the maps of each method took so far, in Lightning's progress bar.

    Args:
        trainer: the trainer with the progress bar; other progress bars than ``TQDMProgressBar`` stay as they are.
    """

    def __init__(self, trainer: pl.Trainer) -> None:
        self.trainer = trainer
        self.seconds: dict[str, float] = {}
        self.maps: dict[str, int] = {}

    def add(self, method: str, seconds: float, maps: int) -> None:
        """Add the time that one method took for some maps."""
        self.seconds[method] = self.seconds.get(method, 0.0) + seconds
        self.maps[method] = self.maps.get(method, 0) + maps

    def begin(self, batch: int) -> None:
        """Say that the batches from this one on are computed; the time left does not count the batches before."""
        bar = self._bar()
        if bar is not None and batch > 0 and not self.maps:
            bar.initial, bar.start_t = batch, time.time()

    def show(self) -> None:
        """Write the seconds for each map behind the bar."""
        bar = self._bar()
        if bar is not None:
            bar.set_postfix_str(str(self), refresh=False)

    def __str__(self) -> str:
        return ", ".join(f"{name} {self.seconds[name] / count:.3g} s" for name, count in self.maps.items())

    def _bar(self) -> tqdm | None:
        bars = self.trainer.progress_bar_callback
        return bars.test_progress_bar if isinstance(bars, TQDMProgressBar) else None
