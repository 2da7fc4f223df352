"""Let explanations that share a module wait for each other."""

from collections.abc import Iterable
from threading import Condition, get_ident
from typing import Any

_changed = Condition()
_taken: dict[int, int] = {}
"""The id of each module that is explained, and the thread that explains it."""
_waiting: list[set[int]] = []
"""The modules that threads wait for, in the order of their requests."""


class Turn:
    """A lock on modules, which one thread holds at a time, may take again, and releases on exit.

    Two simultaneous explanations of one model would restore each other's flags and buffers. Threads wait in the order
    of their requests. A thread that already holds a module goes first, because others may wait for it.
    """

    def __init__(self) -> None:
        self._mine: dict[int, Any] = {}  # holds the modules, so that no other module gets their ids

    def __enter__(self) -> "Turn":
        return self

    def take(self, modules: Iterable[Any]) -> None:
        """Wait until no other thread explains any of these modules, then take them."""
        here, wanted = get_ident(), {id(module): module for module in modules}
        ticket = set(wanted)

        def free() -> bool:
            if any(_taken.get(key, here) != here for key in ticket):
                return False
            earlier = _waiting[: next(i for i, other in enumerate(_waiting) if other is ticket)]
            return all(ticket.isdisjoint(other) for other in earlier) or here in _taken.values()

        with _changed:
            _waiting.append(ticket)
            try:
                _changed.wait_for(free)
                new = {key: module for key, module in wanted.items() if key not in _taken}
                _taken.update(dict.fromkeys(new, here))
                self._mine.update(new)
            finally:
                _waiting[:] = [other for other in _waiting if other is not ticket]
                _changed.notify_all()

    def __exit__(self, *error: Any) -> None:
        with _changed:
            for key in self._mine:
                del _taken[key]
            self._mine.clear()
            _changed.notify_all()
