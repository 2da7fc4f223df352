"""Finds what docstrings name by the last part of its name only, such as :class:`CAMAttribution`."""

from typing import cast

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element) -> nodes.Element | None:
    """Link a name of Python to the only public thing whose name ends with it, or to none."""
    if node.get("refdomain") != "py" or app.builder.format != "html":
        return None
    wanted = "." + node["reftarget"].lstrip("~.").removeprefix("captum_cams.")
    objects = cast(PythonDomain, env.get_domain("py")).objects
    found = [name for name, entry in objects.items() if name.endswith(wanted) and not entry.aliased]
    if not found:
        return None
    name = min(found, key=lambda one: (one.count("."), one))
    entry = objects[name]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, name)
