"""The command ``captum-cams trial``."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from lightning_callbacks.command.evaluate_folder import evaluate_folder
from lightning_callbacks.command.words import listed
from lightning_callbacks.evaluation.trial import trial


def trial_folder(*, replacements: Sequence[str], **given: Any) -> None:
    """Put metrics on trial on a folder of images and print the report; the command line describes the arguments.

    Raises:
        CAMError: an argument does not fit.
    """
    evaluate_folder(**given, run=partial(trial, replacements=listed(replacements)))
