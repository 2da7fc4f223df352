"""One call of a torch function while relevance is watched."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from captum_cams.relevance.marks import mark_of, tensors


@dataclass(frozen=True)
class FunctionCall:
    """A torch function and what it is given."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the function, without the overload that exported networks name, and the underscores around it."""
        return getattr(self.func, "__name__", "").split(".")[0].strip("_")

    @property
    def writes(self) -> bool:
        """Whether it may work in place, as its name or an argument says."""
        name = getattr(self.func, "__name__", "").split(".")[0]
        special = name.startswith("__")
        in_place = name.strip("_") in _IN_PLACE if special else name.endswith("_")
        return in_place or self.kwargs.get("inplace") is True or any(value is True for value in self.args[1:])

    @property
    def given(self) -> list[Tensor]:
        found = list(tensors((*self.args, *self.kwargs.values())))
        # The second tensor of view_as gives its shape, that of to its type.
        return found[:1] if self.name == "to" or self.name.endswith("_as") else found

    @property
    def marked(self) -> list[Tensor]:
        return [tensor for tensor in self.given if mark_of(tensor)]

    def run(self) -> Any:
        return self.func(*self.args, **self.kwargs)

    def on(self, change: Callable[[Tensor], Tensor]) -> Any:
        """Run it on other tensors in the place of those with fractional values."""
        kwargs = {key: _changed(value, change) for key, value in self.kwargs.items()}
        return self.func(*_changed(self.args, change), **kwargs)

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)


_IN_PLACE = frozenset(("iadd", "isub", "imul", "idiv", "itruediv"))


def _changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value) if value.is_floating_point() else value
    if isinstance(value, tuple | list) and any(True for _ in tensors(value)):
        return type(value)(_changed(one, change) for one in value)
    return value
