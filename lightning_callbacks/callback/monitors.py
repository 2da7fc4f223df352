"""Other callbacks that monitor values of ours, also where there is no value yet."""

import math
from collections.abc import Mapping

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from lightning_callbacks.callback.split import LOADER


class Patient:
    """Early stopping that waits for the first value of a tag of ours, in place of ending the run without it."""

    def __init__(self) -> None:
        self._before: list[tuple[EarlyStopping, bool, bool]] = []

    def ask(self, trainer: pl.Trainer, tags: set[str]) -> None:
        """Switch off what would end the run, until :meth:`release`."""
        for one in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(one, EarlyStopping) and one.monitor.split(LOADER)[0] in tags:
                self._before.append((one, one.strict, one.check_finite))
                one.strict = one.check_finite = False

    def release(self) -> None:
        """Leave every callback as it was."""
        for one, strict, check_finite in self._before:
            one.strict, one.check_finite = strict, check_finite
        self._before = []


def stand_ins(trainer: pl.Trainer, missing: set[str], last: Mapping[str, float]) -> dict[str, float]:
    """What those who monitor these tags find in place of a value: the last one.

    Before there is any, checkpoints and learning-rate schedulers, which would end the run without one, find NaN, which
    they take as the worst value; early stopping finds nothing and waits.
    """
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    stopping = {one.monitor for one in callbacks if isinstance(one, EarlyStopping)}
    strict = {one.monitor for one in callbacks if isinstance(one, ModelCheckpoint)}
    strict |= {one.monitor for one in trainer.lr_scheduler_configs if one.reduce_on_plateau}
    known = {tag: last[tag] for tag in missing & (stopping | strict) if tag in last}
    return dict.fromkeys(missing & strict, math.nan) | known
