"""Settings of torch that hold for all threads of the process."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from threading import Lock
from typing import Any


class ProcessWide:
    """A context that several threads may be in at once: the first to enter sets it, the last to leave restores it.

    Args:
        setting: makes the context that sets and restores.
    """

    def __init__(self, setting: Callable[[], AbstractContextManager[Any]]) -> None:
        self._setting, self._lock, self._inside, self._set = setting, Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._set.enter_context(self._setting())
            self._inside += 1

    def __exit__(self, *error: Any) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._set.close()
