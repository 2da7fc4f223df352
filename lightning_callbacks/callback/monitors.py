"""Help other callbacks that monitor our values while there is no value yet."""

import math
from collections.abc import Mapping

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from lightning_callbacks.callback.split import LOADER


class Patient:
    """Makes ``EarlyStopping`` wait for the first value of a tag, instead of ending the run because it is missing."""

    def __init__(self) -> None:
        self._before: list[tuple[EarlyStopping, bool, bool]] = []

    def ask(self, trainer: pl.Trainer, tags: set[str]) -> None:
        """Switch off the checks that would end the run, until :meth:`release`."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, EarlyStopping) and callback.monitor.split(LOADER)[0] in tags:
                self._before.append((callback, callback.strict, callback.check_finite))
                callback.strict = callback.check_finite = False

    def release(self) -> None:
        """Restore every callback."""
        for callback, strict, check_finite in self._before:
            callback.strict, callback.check_finite = strict, check_finite
        self._before = []


def stand_ins(trainer: pl.Trainer, missing: set[str], last: Mapping[str, float]) -> dict[str, float]:
    """The values to log for tags that are monitored but missing: the last value of each tag.

    Before the first value, checkpoints and learning-rate schedulers get NaN, which they take as the worst value;
    without a value they would end the run. Early stopping gets nothing and waits.
    """
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    stopping = {callback.monitor for callback in callbacks if isinstance(callback, EarlyStopping)}
    strict = {callback.monitor for callback in callbacks if isinstance(callback, ModelCheckpoint)}
    strict |= {config.monitor for config in trainer.lr_scheduler_configs if config.reduce_on_plateau}
    known = {tag: last[tag] for tag in missing & (stopping | strict) if tag in last}
    return dict.fromkeys(missing & strict, math.nan) | known
