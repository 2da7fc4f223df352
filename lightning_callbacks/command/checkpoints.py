"""The weights in a checkpoint, read without running any code that it holds."""

import pathlib
import re
from argparse import Namespace
from collections import defaultdict, deque
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import numpy as np
import torch

from captum_cams.errors import CAMError

_PATHS = {
    "PosixPath": pathlib.Path,  # a path of the other kind of system could not be made
    "WindowsPath": pathlib.PureWindowsPath,
    "PurePosixPath": pathlib.PurePosixPath,
    "PureWindowsPath": pathlib.PureWindowsPath,
}
_MADE = {"scalar": np.float64(0).__reduce__()[0], "_reconstruct": np.zeros(1).__reduce__()[0]}
_LIGHTNING = (
    *("pytorch_lightning.utilities.parsing", "lightning.pytorch.utilities.parsing"),
    *("lightning_fabric.utilities.data", "lightning.fabric.utilities.data"),
)
_HARMLESS: list[Any] = [
    # Python and NumPy have moved these about.
    *((one, f"{module}.{name}") for module in ("pathlib", "pathlib._local") for name, one in _PATHS.items()),
    *((one, f"numpy.{core}.multiarray.{name}") for core in ("core", "_core") for name, one in _MADE.items()),
    *((dict, f"{module}.AttributeDict") for module in _LIGHTNING),
    *(np.ndarray, np.dtype, *{type(np.dtype(code)) for code in np.typecodes["All"] if code != "O"}),
    *(Namespace, defaultdict, deque, dict, list, date, datetime, time, timedelta, timezone, slice, range),
]
"""What training scripts keep beside the weights, and what runs no code when it is read."""


def read_state(checkpoint: str | pathlib.Path) -> dict[str, Any]:
    """The state dict in a file, by itself or under "state_dict" as Lightning and many training scripts have it.

    Raises:
        CAMError: there is no such file, it holds no state dict, or it holds what could run code when it is read.
    """
    if not pathlib.Path(checkpoint).is_file():
        raise CAMError(f"the checkpoint {checkpoint} is no file")
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
    except Exception as error:  # torch has many words for a file that it cannot read
        refused = re.search(r"(?:GLOBAL|class|function) ([\w.]+\.\w+)", str(error))
        if refused is not None:
            raise CAMError(
                f"the checkpoint {checkpoint} holds {refused[1]}, which may run code when it is read; "
                "save model.state_dict() alone"
            ) from error
        said = re.search(r"WeightsUnpickler error:\s*(.*)", str(error)) or re.match("(.*)", str(error))
        raise CAMError(f"the checkpoint {checkpoint} must be a state dict: {said[1] if said else error}") from error
    if not isinstance(state, dict):
        raise CAMError(f"the checkpoint {checkpoint} must be a state dict, got {type(state).__name__}")
    return state
