"""Decide at which validations the callback explains."""

from dataclasses import dataclass

from captum_cams.errors import CAMError, check_at_least


@dataclass
class Schedule:
    """Explain every n training epochs or every n validations; by default, every validation.

    The first validation of a run is always explained.

    Args:
        every_n_epochs: minimum number of training epochs from one explained validation to the next.
        every_n_validations: exact number of validations from one explained validation to the next.
        epoch: the training epoch of the last explained validation.
        validations: how many validations there were.

    Raises:
        CAMError: both numbers are given, or a number is not a positive integer.
    """

    every_n_epochs: int | None = None
    every_n_validations: int | None = None
    epoch: int | None = None
    validations: int = 0

    def __post_init__(self) -> None:
        given = {"every_n_epochs": self.every_n_epochs, "every_n_validations": self.every_n_validations}
        for name, value in given.items():
            if value is not None:
                check_at_least(name, value, 1)
        if None not in given.values():
            raise CAMError(
                "every_n_epochs counts training epochs and every_n_validations counts validations; pass only one of "
                f"both, got {self.every_n_epochs} and {self.every_n_validations}"
            )

    def due(self, epoch: int) -> bool:
        """Whether to explain the validation that begins now, in this epoch; call it once for each validation."""
        if self.every_n_epochs is not None:
            due = self.epoch is None or epoch - self.epoch >= self.every_n_epochs
        else:
            due = self.validations % (self.every_n_validations or 1) == 0
        self.validations += 1
        if due:
            self.epoch = epoch
        return due
