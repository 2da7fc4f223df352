"""Explanations that share a module wait for one another."""

from collections.abc import Iterable
from threading import Condition, get_ident
from typing import Any

_changed = Condition()
_taken: dict[int, int] = {}
"""The module (its id) and the thread that explains it."""
_waiting: list[set[int]] = []
"""What other threads wait for, the first of them first."""


class Turn:
    """The turn to explain modules, which one thread has at a time and may take again; given back on exit.

    Two explanations of one model would put back each other's flags and buffers. Whoever waits is served in order. A
    thread that has a turn already goes before those that wait, which may wait for it.
    """

    def __init__(self) -> None:
        self._mine: dict[int, Any] = {}  # holds the modules, so that no other one gets their ids

    def __enter__(self) -> "Turn":
        return self

    def take(self, modules: Iterable[Any]) -> None:
        """Wait until no other thread explains any of these."""
        here, wanted = get_ident(), {id(module): module for module in modules}
        ticket = set(wanted)

        def free() -> bool:
            if any(_taken.get(key, here) != here for key in ticket):
                return False
            earlier = _waiting[: next(i for i, one in enumerate(_waiting) if one is ticket)]
            return all(ticket.isdisjoint(one) for one in earlier) or here in _taken.values()

        with _changed:
            _waiting.append(ticket)
            try:
                _changed.wait_for(free)
                new = {key: module for key, module in wanted.items() if key not in _taken}
                _taken.update(dict.fromkeys(new, here))
                self._mine.update(new)
            finally:
                _waiting[:] = [one for one in _waiting if one is not ticket]
                _changed.notify_all()

    def __exit__(self, *error: Any) -> None:
        with _changed:
            for key in self._mine:
                del _taken[key]
            self._mine.clear()
            _changed.notify_all()
