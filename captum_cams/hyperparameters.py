"""What an explainer is made with: how it is read, shown and compared."""

from collections.abc import Callable
from typing import Any

from torch import nn

from captum_cams.argument_names import Called, check_kept, options_of
from captum_cams.engine.layers import dotted
from captum_cams.errors import CAMError, brief


class Declared(Called):
    """Gives an explainer its hyperparameters, a ``repr`` and equality.

    The contract is scikit-learn's: each argument of a constructor beside the model and the layer is kept as an
    attribute of the same name.
    """

    forward_func: Callable[..., Any]
    layer: nn.Module | None
    found_layer: nn.Module | None

    @property
    def given_layer(self) -> nn.Module | None:
        """The layer that the explainer was made with; None if it finds the layer itself."""
        return None if self.layer is self.found_layer else self.layer

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The arguments of the constructor beside the model and the layer, by name, as the explainer holds them now.

        The values can be compared and printed: a module is given by its dotted name in the model, tensors and arrays
        as numbers, and the base of a wrapper as a dict of its class and of its own hyperparameters. A call of the
        explainer changes nothing here.

        Raises:
            CAMError: a class keeps one of its arguments under no attribute of that name.
        """
        check_kept(self)
        return {name: self._plain(getattr(self, name)) for name in options_of(type(self))}

    def _plain(self, value: Any) -> Any:
        if isinstance(value, Declared):
            return {"class": type(value).__name__} | value.hyperparameters
        if hasattr(value, "tolist"):  # tensors and arrays
            return value.tolist()
        if type(value) in (list, tuple):
            return type(value)(map(self._plain, value))
        return dotted(self.forward_func, value)

    def _held(self) -> dict[str, Any]:
        """The hyperparameters, with the base of a wrapper itself."""
        held = {name: getattr(self, name, None) for name in options_of(type(self))}
        return {name: one if isinstance(one, Declared) else self._plain(one) for name, one in held.items()}

    def __repr__(self) -> str:
        """The class with its layer and with what differs from an explainer that is made without arguments."""
        shown = {} if self.given_layer is None else {"layer": self._plain(self.given_layer)}
        held = self._held()
        if any(isinstance(one, Declared) for one in held.values()):
            shown = {}  # the base shows it
        usual = self._usual()
        shown |= {name: one for name, one in held.items() if name not in usual or usual[name] != one}
        return f"{type(self).__name__}({', '.join(f'{name}={_said(one)}' for name, one in shown.items())})"

    def _usual(self) -> dict[str, Any]:
        try:
            return type(self)(self.forward_func)._held()
        except (CAMError, TypeError):  # some classes cannot be made without arguments
            return {}

    def __eq__(self, other: object) -> bool:
        """Whether the class, the model, the layer and all hyperparameters are the same."""
        if type(other) is not type(self):
            return NotImplemented
        same = self.forward_func is other.forward_func and self.given_layer is other.given_layer
        return same and self._held() == other._held()

    def __hash__(self) -> int:
        # Hyperparameters may be changed, and equal explainers have the class and the model in common.
        return hash((type(self), id(self.forward_func)))


def _said(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return repr(value) if isinstance(value, Declared) else getattr(value, "__name__", None) or brief(value)
