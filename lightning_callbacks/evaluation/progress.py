"""Show in the progress bar how long each method takes, and how long the rest takes after a restart."""

import time

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar, TQDMProgressBar


class Progress:
    """The time that the maps of each method took so far, in Lightning's progress bar.

    ``TQDMProgressBar`` shows it behind its bar, and ``RichProgressBar``, which Lightning takes where rich is installed,
    before its bar.

    Args:
        trainer: the trainer with the progress bar; progress bars of other classes stay as they are.
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
        if batch == 0 or self.maps:
            return
        bars = self.trainer.progress_bar_callback
        if isinstance(bars, TQDMProgressBar):
            bars.test_progress_bar.initial, bars.test_progress_bar.start_t = batch, time.time()
        elif isinstance(bars, RichProgressBar) and bars.progress is not None and bars.test_progress_bar_id is not None:
            bars.progress.reset(bars.test_progress_bar_id, completed=batch)

    def show(self) -> None:
        """Write the seconds for each map beside the bar."""
        bars = self.trainer.progress_bar_callback
        if isinstance(bars, TQDMProgressBar):
            bars.test_progress_bar.set_postfix_str(str(self), refresh=False)
        elif isinstance(bars, RichProgressBar) and bars.progress is not None and bars.test_progress_bar_id is not None:
            said = f"{bars.test_description} {self}".replace("[", "\\[")  # no markup: noise[seed=4] is a name
            bars.progress.update(bars.test_progress_bar_id, description=said)

    def __str__(self) -> str:
        return ", ".join(f"{name} {self.seconds[name] / count:.3g} s" for name, count in self.maps.items())
