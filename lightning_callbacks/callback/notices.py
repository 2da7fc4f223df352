"""The warnings of the callback: short, once for each reason, and from all processes."""

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
"""Letters of a long text that are shown at its beginning, with the mistake, and at its end, with the remedy."""


class Notices:
    """The warnings of one callback. Process zero warns at once, and for other processes when :meth:`share` is called.

    Args:
        on_error: whether a failed explanation gives a warning ("warn") or an error ("raise").
    """

    def __init__(self, on_error: OnError = "warn") -> None:
        check_choice("on_error", on_error, get_args(OnError))
        self.on_error = on_error
        self.said: dict[str, str] = {}
        self._waiting: dict[str, str] = {}

    def add(self, text: str) -> None:
        """Warn, unless the same text was given before; texts that differ only in numbers are the same."""
        text = clipped(text)
        reason = _words(text)
        if reason not in self.said:
            self.said[reason] = self._waiting[reason] = text
            rank_zero_warn(text)

    def doubt(self, text: str) -> None:
        """Warn that something may be wrong with the explanations."""
        self.add(f"CAMCallback: {text}")

    def fail(self, failure: Failure) -> None:
        """Warn of a failed explanation, or raise its error."""
        if self.on_error == "raise":
            raise failure.error
        remedy = "; lower num_images or the method's perturbations_per_eval" if is_memory(failure.error) else ""
        said = clipped(f"{failure.method or 'explanation'}: {type(failure.error).__name__}: {failure.error}")
        self.add(f"CAMCallback skips this explanation and the run goes on. {said}{remedy}")

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Treat an error in the block as a failed explanation."""
        try:
            yield
        except Exception as error:
            self.fail(Failure(error))

    def share(self, rank: int, world_size: int) -> None:
        """Let process zero warn for the other processes; all processes must call this."""
        mine, self._waiting = self._waiting, {}
        if world_size == 1:
            return
        parts: list[dict[str, str]] = [{}] * world_size
        dist.all_gather_object(parts, mine)
        for reason in dict.fromkeys(reason for part in parts for reason in part):
            ranks = [number for number, part in enumerate(parts) if reason in part]
            text = next(part[reason] for part in parts if reason in part)
            if reason not in self.said:
                self.said[reason] = text
                rank_zero_warn(f"{text} (on process {', '.join(map(str, ranks))} of {world_size})")


def clipped(text: str) -> str:
    """The text on one line; the middle of a long text is left out."""
    text = " ".join(text.split())
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]} […] {text[-_TAIL:]}"


def _words(text: str) -> str:
    """The words of a text without its numbers, because amounts of memory or values of tensors differ each time."""
    return " ".join(re.findall(r"[^\W\d_]{2,}", text))[:_HEAD]
