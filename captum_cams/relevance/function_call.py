"""One operation of a run: a torch function and its arguments."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from captum_cams.relevance.marks import mark_of, tensors


@dataclass(frozen=True)
class FunctionCall:
    """A torch function and its arguments."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the function without underscores around it, and without the overload (in exported networks)."""
        return getattr(self.func, "__name__", "").split(".")[0].strip("_")

    @property
    def writes(self) -> bool:
        """Whether the function may write to its input, according to its name or its arguments."""
        name = getattr(self.func, "__name__", "").split(".")[0]
        special = name.startswith("__")
        in_place = name.strip("_") in _IN_PLACE if special else name.endswith("_")
        return in_place or self.kwargs.get("inplace") is True or any(value is True for value in self.args[1:])

    @property
    def given(self) -> list[Tensor]:
        """The tensors among the arguments whose values the function reads."""
        given = list(tensors((*self.args, *self.kwargs.values())))
        # The second tensor of view_as only sets the shape, and that of to only the type.
        return given[:1] if self.name == "to" or self.name.endswith("_as") else given

    @property
    def marked(self) -> list[Tensor]:
        """The given tensors that depend on the input."""
        return [tensor for tensor in self.given if mark_of(tensor)]

    def run(self) -> Any:
        """Call the function."""
        return self.func(*self.args, **self.kwargs)

    def on(self, change: Callable[[Tensor], Tensor]) -> Any:
        """Call the function with ``change(tensor)`` instead of each floating-point tensor."""
        kwargs = {key: _changed(value, change) for key, value in self.kwargs.items()}
        return self.func(*_changed(self.args, change), **kwargs)

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """Return an argument that is given by position or by name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)


_IN_PLACE = frozenset(("iadd", "isub", "imul", "idiv", "itruediv"))


def _changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value) if value.is_floating_point() else value
    if isinstance(value, tuple | list) and any(True for _ in tensors(value)):
        return type(value)(_changed(entry, change) for entry in value)
    return value
