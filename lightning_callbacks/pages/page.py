"""Write a page: one HTML file that has its styles, scripts and data inside."""

import math
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lightning_callbacks.pages.colours import colour_tables

_TEMPLATES = Environment(
    loader=PackageLoader("lightning_callbacks.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


def _source(name: str) -> Markup:
    """The text of a script or a style sheet as it is; its braces are no part of a template."""
    assert _TEMPLATES.loader is not None
    return Markup(_TEMPLATES.loader.get_source(_TEMPLATES, name)[0])


_TEMPLATES.globals["source"] = _source


def render(template: str, data: Mapping[str, Any], **texts: Any) -> str:
    """Fill a template.

    Args:
        template: the name of a file in ``templates`` that extends ``base.html``.
        data: what the scripts read, in ``Page.data``: values for JSON. NaN and infinite numbers become null.
        **texts: what the template itself writes, by name; ``title`` is needed. Their characters are escaped.

    Returns:
        The text of the page.
    """
    whole = plain({"colours": colour_tables(), **data})
    return _TEMPLATES.get_template(template).render(data=whole, **texts)


def plain(value: Any) -> Any:
    """The value with None instead of NaN and infinite numbers, which JSON does not have."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
