"""Read the weights of a checkpoint without running code from the file."""

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
    "PosixPath": pathlib.Path,  # a path of another operating system cannot be made
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
    # The modules of these names differ between versions of Python and NumPy.
    *((kind, f"{module}.{name}") for module in ("pathlib", "pathlib._local") for name, kind in _PATHS.items()),
    *((made, f"numpy.{core}.multiarray.{name}") for core in ("core", "_core") for name, made in _MADE.items()),
    *((dict, f"{module}.AttributeDict") for module in _LIGHTNING),
    *(np.ndarray, np.dtype, *{type(np.dtype(code)) for code in np.typecodes["All"] if code != "O"}),
    *(Namespace, defaultdict, deque, dict, list, date, datetime, time, timedelta, timezone, slice, range),
]
"""Types that training scripts save next to the weights, and that run no code when they are read."""


def read_state(checkpoint: str | pathlib.Path) -> dict[str, Any]:
    """Read the state dict in a file, directly or under "state_dict", as Lightning and many training scripts save it.

    Raises:
        CAMError: there is no such file, it has no state dict, or it has objects that could run code when they are read.
    """
    if not pathlib.Path(checkpoint).is_file():
        raise CAMError(f"the checkpoint must be a file, but there is no file {checkpoint}; check its name")
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
    except Exception as error:  # torch raises many errors for files that it cannot read
        refused = re.search(r"(?:GLOBAL|class|function) ([\w.]+\.\w+)", str(error))
        if refused is not None:
            raise CAMError(
                f"the checkpoint {checkpoint} holds {refused[1]}, which may run code when it is read; "
                "save only model.state_dict()"
            ) from error
        said = re.search(r"WeightsUnpickler error:\s*(.*)", str(error)) or re.match("(.*)", str(error))
        raise CAMError(
            f"the checkpoint {checkpoint} must be a state dict, got: {said[1] if said else error}"
        ) from error
    if not isinstance(state, dict):
        raise CAMError(f"the checkpoint {checkpoint} must be a state dict, got {type(state).__name__}")
    return state
