"""Leaves out what our classes inherit from other libraries, whose docstrings refer to their own sites."""

from typing import Any

from sphinx.application import Sphinx

_OURS = ("captum_cams", "lightning_callbacks")


def skip(app: Sphinx, what: str, name: str, member: Any, skipped: bool, options: Any) -> bool | None:
    """Skip a method that another library defines; None leaves the decision to autodoc."""
    function = getattr(member, "fget", member)
    home = getattr(function, "__module__", None)
    return True if isinstance(home, str) and not home.startswith(_OURS) else None
