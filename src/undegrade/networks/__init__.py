"""The networks, one file each. ``catalog.get("chair")`` returns its NetworkSpec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from undegrade.core.catalog import Catalog

if TYPE_CHECKING:
    from undegrade.networks._spec import NetworkSpec

__all__ = ["catalog"]

catalog: Catalog[NetworkSpec[Any]] = Catalog("network", "undegrade.networks", "SPEC")
