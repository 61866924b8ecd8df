"""Networks as files of other runtimes: forms that graphs can hold, and one module per kind of file.

Named ``graphs`` because ``undegrade.export`` is the public function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from undegrade.core.catalog import Catalog

if TYPE_CHECKING:
    from undegrade.graphs._graph import Format

__all__ = ["catalog"]

catalog: Catalog[Format] = Catalog("format", "undegrade.graphs", "FORMAT")
