"""Settings of the documentation site: `make docs`. Offline: no fonts, scripts or inventories from elsewhere."""

from __future__ import annotations

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
