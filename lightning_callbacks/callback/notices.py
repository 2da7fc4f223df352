"""What the callback has to say in words: once for each reason, short, and from every process."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch.distributed as dist
from pytorch_lightning.utilities import rank_zero_warn

from captum_cams.errors import check_choice
from lightning_callbacks.callback.explained import Failure
from lightning_callbacks.memory import is_memory

OnError = Literal["warn", "raise"]

_HEAD, _TAIL = 260, 160
"""How much of a long text is shown: what went wrong stands at its beginning, and the remedy at its end."""


class Notices:
    """Warnings of one callback. Process zero warns at once, and for the other ones when :meth:`share` is called.

    Args:
        on_error: what happens where an explanation fails, "warn" or "raise".
    """

    def __init__(self, on_error: OnError = "warn") -> None:
        check_choice("on_error", on_error, get_args(OnError))
        self.on_error = on_error
        self.said: dict[str, str] = {}
        self._waiting: dict[str, str] = {}

    def add(self, text: str) -> None:
        """Warn of this, unless the same was said before; numbers that differ do not make it another reason."""
        text = clipped(text)
        reason = _words(text)
        if reason not in self.said:
            self.said[reason] = self._waiting[reason] = text
            rank_zero_warn(text)

    def doubt(self, text: str) -> None:
        """Warn of what may be wrong with the explanations."""
        self.add(f"CAMCallback: {text}")

    def fail(self, failure: Failure) -> None:
        """Warn of an explanation that could not be made, or raise its error."""
        if self.on_error == "raise":
            raise failure.error
        remedy = "; lower num_images or the method's perturbations_per_eval" if is_memory(failure.error) else ""
        said = clipped(f"{failure.method or 'explanation'}: {type(failure.error).__name__}: {failure.error}")
        self.add(f"CAMCallback skips this explanation and the run goes on. {said}{remedy}")

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Treat an error of the block as an explanation that could not be made."""
        try:
            yield
        except Exception as error:
            self.fail(Failure(error))

    def share(self, rank: int, world_size: int) -> None:
        """Process zero says what the other processes met; all of them must take part."""
        mine, self._waiting = self._waiting, {}
        if world_size == 1:
            return
        parts: list[dict[str, str]] = [{}] * world_size
        dist.all_gather_object(parts, mine)
        for reason in dict.fromkeys(reason for part in parts for reason in part):
            met = [number for number, part in enumerate(parts) if reason in part]
            text = next(part[reason] for part in parts if reason in part)
            if reason not in self.said:
                self.said[reason] = text
                rank_zero_warn(f"{text} (on process {', '.join(map(str, met))} of {world_size})")


def clipped(text: str) -> str:
    """The text on one line, its middle left out where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]} […] {text[-_TAIL:]}"


def _words(text: str) -> str:
    """What two texts of one reason have in common: an amount of memory or the values of a tensor differ each time."""
    return " ".join(re.findall(r"[^\W\d_]{2,}", text))[:_HEAD]
