"""Name the stages of a Trainer and their data loaders."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import pytorch_lightning as pl

Stage = Literal["validation", "validate", "test"]
"""Validation during training; ``Trainer.validate`` after training with the same Trainer; ``Trainer.test``."""
STAGES: tuple[Stage, ...] = get_args(Stage)
LOADER = "/dataloader_idx_"
"""The end of a tag if there are several data loaders, as in the tags of Lightning."""


@dataclass(frozen=True)
class Split:
    """One data loader of one stage.

    Args:
        stage: the stage of the Trainer.
        number: the number of the data loader.
        alone: whether it is the only data loader of its stage.
    """

    stage: Stage
    number: int
    alone: bool

    @property
    def suffix(self) -> str:
        """The end of the tags of its scalars."""
        return "" if self.alone else f"{LOADER}{self.number}"

    @property
    def name(self) -> str:
        """The tags of its pictures without the prefix: ``validation/dataloader_idx_1``."""
        return f"{self.stage}{self.suffix}"

    @property
    def key(self) -> str:
        """Its name in a checkpoint: ``validation/1``."""
        return f"{self.stage}/{self.number}"


def stage_of(trainer: pl.Trainer) -> Stage:
    """The current stage of a Trainer."""
    if trainer.state.fn == "test":
        return "test"
    return "validate" if trainer.state.fn == "validate" and trainer.global_step > 0 else "validation"


def batches_of(trainer: pl.Trainer) -> Sequence[int | float]:
    """The number of batches of each data loader in the current stage."""
    return trainer.num_test_batches if trainer.state.fn == "test" else trainer.num_val_batches


def splits_of(trainer: pl.Trainer) -> list[Split]:
    """The data loaders in the current stage."""
    count = len(batches_of(trainer))
    return [Split(stage_of(trainer), number, count == 1) for number in range(count)]
