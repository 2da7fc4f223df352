"""The entry point of the command line ``captum-cams``."""

import os
import sys
from collections.abc import Callable, Sequence

from pytorch_lightning.utilities.exceptions import MisconfigurationException

from lightning_callbacks.command.arguments import parse
from lightning_callbacks.command.copy_example import copy_example
from lightning_callbacks.command.evaluate_folder import evaluate_folder
from lightning_callbacks.command.explain_images import explain_images
from lightning_callbacks.command.export_model import export_model
from lightning_callbacks.command.grade_methods import grade_methods
from lightning_callbacks.command.merge_folders import merge_folders
from lightning_callbacks.command.print_methods import print_methods
from lightning_callbacks.command.report_folder import report_folder
from lightning_callbacks.command.trial_folder import trial_folder

_ACTIONS: dict[str, Callable[..., None]] = {
    "explain": explain_images,
    "evaluate": evaluate_folder,
    "merge": merge_folders,
    "report": report_folder,
    "trial": trial_folder,
    "export": export_model,
    "benchmark": grade_methods,
    "example": copy_example,
    "methods": print_methods,
}


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: the words after ``captum-cams``; None takes the words that the user typed.

    Returns:
        The exit status: 0, or 2 after a mistake of the user, which is explained in one line.
    """
    try:
        command, options = parse(args)
        _ACTIONS[command](**options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output, such as head, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at its end
    except (MisconfigurationException, ValueError, OSError) as error:
        said = str(error).strip()
        if "Traceback" in said:  # the error comes from a process that reads images
            said = said.splitlines()[-1]
        print(f"captum-cams: {' '.join(said.split())}", file=sys.stderr)
        return 2
    return 0
