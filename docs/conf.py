"""Settings of the site. ``sphinx-build -W docs build/site`` builds it without any request to a network."""

import logging
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]  # the generators of the pages, and the package itself

import captum_cams  # noqa: E402
from generate.api import file_names  # noqa: E402

logging.getLogger("captum_cams").setLevel(logging.WARNING)  # each search for a layer is told otherwise

project = "captum-cams"
author = "captum-cams developers"
copyright = "captum-cams developers"
release = version = captum_cams.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "myst_parser",
    "sphinx_copybutton",
    "generate",
]
exclude_patterns = ["_templates", "generate"]
templates_path = ["_templates"]
nitpicky = False  # torch's and Captum's own names are not on this site; `generate.references` resolves ours

autosummary_generate = True
autosummary_filename_map = file_names()
autosummary_imported_members = True
autosummary_ignore_module_all = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # those of Lightning and Captum refer to their own sites
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_preprocess_types = True

myst_heading_anchors = 4
myst_links_external_new_tab = False

html_theme = "furo"
html_title = "captum-cams"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
