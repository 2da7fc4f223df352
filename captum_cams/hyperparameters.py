"""The title and the hyperparameters of an explainer: how they are read, printed and compared."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import nn

from captum_cams.argument_names import Called, check_kept, options_of
from captum_cams.engine.layers import dotted
from captum_cams.errors import brief
from captum_cams.paper import joined_title


class Declared(Called):
    """Gives an explainer a title, ``hyperparameters``, a ``repr`` and equality.

    The contract is that of scikit-learn: a constructor keeps each argument, except the model and the layer, in an
    attribute of the same name.
    """

    title: ClassVar[str] = ""
    """The name as the paper writes it, for pictures; without one, it is that of the class. In the title of a wrapper,
    ``{base}`` is the place of the title of its base, which otherwise follows as in "FG-CAM over Grad-CAM"."""
    forward_func: Callable[..., Any]
    layer: nn.Module | None
    found_layer: nn.Module | None

    @property
    def full_title(self) -> str:
        """The name for pictures, with that of the base of a wrapper: "FG-CAM over Grad-CAM"."""
        return joined_title(type(self))

    @property
    def given_layer(self) -> nn.Module | None:
        """The layer that the user gave; None if the explainer searches for the layer."""
        return None if self.layer is self.found_layer else self.layer

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The arguments of the constructor, except the model and the layer, with their present values.

        The values can be compared and printed: modules are replaced by their dotted names in the model, tensors and
        arrays by numbers, and the base of a wrapper by a dict of its class and its own hyperparameters. Explaining
        images does not change them.

        Raises:
            CAMError: the class does not keep an argument in an attribute of the same name.
        """
        check_kept(self)
        return {name: self._plain(getattr(self, name)) for name in options_of(type(self))}

    def _plain(self, value: Any) -> Any:
        """Replace a value with a form that can be compared and printed."""
        if isinstance(value, Declared):
            return {"class": type(value).__name__} | value.hyperparameters
        if hasattr(value, "tolist"):  # tensors and arrays
            return value.tolist()
        if type(value) in (list, tuple):
            return type(value)(map(self._plain, value))
        if type(value) is dict:
            return {key: self._plain(one) for key, one in value.items()}
        return dotted(self.forward_func, value)

    def _held(self) -> dict[str, Any]:
        """The same values, but the base of a wrapper is the explainer itself."""
        held = {name: getattr(self, name, None) for name in options_of(type(self))}
        return {name: value if isinstance(value, Declared) else self._plain(value) for name, value in held.items()}

    def __repr__(self) -> str:
        """The class, the layer and the hyperparameters that differ from their defaults."""
        shown = {} if self.given_layer is None else {"layer": self._plain(self.given_layer)}
        held = self._held()
        if any(isinstance(value, Declared) for value in held.values()):
            shown = {}  # the base shows it
        usual = self._usual()
        shown |= {name: value for name, value in held.items() if name not in usual or usual[name] != value}
        return f"{type(self).__name__}({', '.join(f'{name}={_said(value)}' for name, value in shown.items())})"

    def _usual(self) -> dict[str, Any]:
        """The hyperparameters of an explainer with all defaults, or nothing if the class needs more arguments."""
        try:
            return type(self)(self.forward_func)._held()
        except Exception:  # some classes cannot be made without arguments
            return {}

    def __eq__(self, other: object) -> bool:
        """Whether both explainers have the same class, model, layer and hyperparameters."""
        if type(other) is not type(self):
            return NotImplemented
        if other is self:
            return True
        same = self.forward_func is other.forward_func and self.given_layer is other.given_layer
        return same and self._held() == other._held()

    def __hash__(self) -> int:
        # Hyperparameters may change later, so the hash uses the class and the model only.
        return hash((type(self), id(self.forward_func)))


def _said(value: Any) -> str:
    """Write a value for the ``repr``."""
    if isinstance(value, str):
        return f'"{value}"'
    return repr(value) if isinstance(value, Declared) else getattr(value, "__name__", None) or brief(value)
