"""What autodoc shows of a class: the arguments of its constructor, and nothing that other libraries define."""

import inspect
from typing import Any

from sphinx.application import Sphinx

from captum_cams.argument_names import Called

_OURS = ("captum_cams", "lightning_callbacks")


def skip(app: Sphinx, what: str, name: str, member: Any, skipped: bool, options: Any) -> bool | None:
    """Skip a method that another library defines; None leaves the decision to autodoc."""
    function = getattr(member, "fget", member)
    home = getattr(function, "__module__", None)
    return True if isinstance(home, str) and not home.startswith(_OURS) else None


def signature(
    app: Sphinx, what: str, name: str, value: Any, options: Any, arguments: str, returned: str
) -> tuple[str, str] | None:
    """Show the arguments of an explainer's constructor; autodoc would show those of ``__new__``, which takes all."""
    if what != "class" or not issubclass(value, Called):
        return None
    parameters = [one for one in inspect.signature(value.__init__).parameters.values() if one.name != "self"]
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in parameters]
    return str(inspect.Signature(bare)), ""
