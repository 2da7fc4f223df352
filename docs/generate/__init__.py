"""Writes the pages that come from the registry, the catalogue and the examples, as a Sphinx extension.

The pages are written before Sphinx reads the sources, into folders that git ignores. A page that would be the same is
left as it is, so that only what changed is built again.
"""

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.typing import ExtensionMetadata

from generate import api, examples, guides, llms, members, methods, metrics, references


def setup(app: Sphinx) -> ExtensionMetadata:
    """Connect the generators with the build."""
    app.connect("config-inited", _write)  # before Sphinx looks for its sources, and autosummary for its tables
    app.connect("source-read", guides.listed)
    app.connect("autodoc-skip-member", members.skip)
    app.connect("autodoc-process-signature", members.signature)
    app.connect("missing-reference", references.resolve)
    app.connect("build-finished", llms.write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _write(app: Sphinx, config: Config) -> None:
    docs = Path(app.srcdir)
    methods.write(docs / "methods")
    metrics.write(docs / "metrics")
    examples.write(docs / "examples")
    api.write(docs / "api")
