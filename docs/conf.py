"""Settings of the documentation site: `make docs`. Offline: no fonts, scripts or inventories from elsewhere."""

from __future__ import annotations

import re
from typing import Any

from undegrade import __version__

project = "undegrade"
author = "The undegrade developers"
project_copyright = "The undegrade developers, Apache-2.0"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
nitpicky = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "undoc-members": False}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"undegrade {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sphinx = False
html_copy_source = False
highlight_language = "bash"  # of blocks that do not say: commands
pygments_style = "friendly"
pygments_dark_style = "monokai"

SEVERAL = re.compile(r"^( +)(\w+(?:, \w+)+)(:.*(?:\n\1 +.*)*)", re.M)
"""An entry under `Attributes:` that tells of several at once."""


def one_by_one(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """`low, high: the range` becomes an entry for each, lest napoleon take `low,` for the type of `high`."""
    before, heading, entries = "\n".join(lines).partition("Attributes:\n")
    apart = SEVERAL.sub(lambda m: "\n".join(f"{m[1]}{word}{m[3]}" for word in m[2].split(", ")), entries)
    lines[:] = f"{before}{heading}{apart}".split("\n")


def setup(app: Any) -> None:
    """What Sphinx calls."""
    app.connect("autodoc-process-docstring", one_by_one, priority=400)  # napoleon's is 500
