"""At which validations of a training run the callback explains."""

from dataclasses import dataclass

from captum_cams.errors import CAMError, check_at_least


@dataclass
class Schedule:
    """Whose turn it is: every n-th training epoch or every n-th validation; every validation where neither is given.

    The first validation of a run is always one of them.

    Args:
        every_n_epochs: training epochs from one explained validation to the next one, at least; validations in between
            are left out, however many there are in an epoch or epochs without any.
        every_n_validations: validations from one explained validation to the next one, exactly.
        epoch: the training epoch of the last explained validation.
        validations: how many validations there have been.

    Raises:
        CAMError: both are given, or one is no positive integer.
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
        """Whether the validation that begins now, in this training epoch, is one of them; ask once a validation."""
        if self.every_n_epochs is not None:
            due = self.epoch is None or epoch - self.epoch >= self.every_n_epochs
        else:
            due = self.validations % (self.every_n_validations or 1) == 0
        self.validations += 1
        if due:
            self.epoch = epoch
        return due
