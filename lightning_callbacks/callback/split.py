"""Names of what a Trainer validates or tests: a stage, and a data loader of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import pytorch_lightning as pl

Stage = Literal["validation", "validate", "test"]
"""Validation while a network is trained; ``Trainer.validate`` after that in the same Trainer; ``Trainer.test``."""
STAGES: tuple[Stage, ...] = get_args(Stage)
LOADER = "/dataloader_idx_"
"""What follows a tag where there are several data loaders, as in Lightning's own tags."""


@dataclass(frozen=True)
class Split:
    """One data loader of one stage.

    Args:
        stage: of the Trainer.
        number: of the data loader.
        alone: whether it is the only one of its stage.
    """

    stage: Stage
    number: int
    alone: bool

    @property
    def suffix(self) -> str:
        """What the tags of its scalars end with."""
        return "" if self.alone else f"{LOADER}{self.number}"

    @property
    def name(self) -> str:
        """What the tags of its pictures are called after their prefix: ``validation/dataloader_idx_1``."""
        return f"{self.stage}{self.suffix}"

    @property
    def key(self) -> str:
        """What a checkpoint calls it: ``validation/1``."""
        return f"{self.stage}/{self.number}"


def stage_of(trainer: pl.Trainer) -> Stage:
    """Which of the stages a Trainer is in."""
    if trainer.state.fn == "test":
        return "test"
    return "validate" if trainer.state.fn == "validate" and trainer.global_step > 0 else "validation"


def batches_of(trainer: pl.Trainer) -> Sequence[int | float]:
    """The number of batches of each data loader of the stage that a Trainer is in."""
    return trainer.num_test_batches if trainer.state.fn == "test" else trainer.num_val_batches


def splits_of(trainer: pl.Trainer) -> list[Split]:
    """The data loaders of the stage that a Trainer is in."""
    count = len(batches_of(trainer))
    return [Split(stage_of(trainer), number, count == 1) for number in range(count)]
