"""A folder read as a catalogue: every module in it offers one object under an agreed name.

Adding a network or a task is adding a file. Nothing is imported until it is asked for, so listing names
costs a directory scan and no torch.
"""

from __future__ import annotations

import ast
import importlib
from functools import cache
from importlib import resources
from typing import Generic, TypeVar

from undegrade.core.errors import UnknownNameError

__all__ = ["Catalog"]

T = TypeVar("T")


class Catalog(Generic[T]):
    """The modules of ``package`` whose names do not start with an underscore, each defining ``attribute``.

    Args:
        kind: what an entry is called in messages, for example ``"network"``.
        package: dotted name of the folder, for example ``"undegrade.networks"``.
        attribute: the name that every module defines, for example ``"SPEC"``.
    """

    def __init__(self, kind: str, package: str, attribute: str) -> None:
        self.kind, self.package, self.attribute = kind, package, attribute

    def names(self) -> list[str]:
        """All entry names, sorted."""
        files = (entry.name for entry in resources.files(self.package).iterdir())
        return sorted(name[:-3] for name in files if name.endswith(".py") and not name.startswith("_"))

    def get(self, name: str) -> T:
        """The entry called ``name``.

        Raises:
            UnknownNameError: there is none; the message offers the nearest name.
        """
        if name not in self.names():
            raise UnknownNameError(self.kind, name, self.names())
        entry: T = getattr(importlib.import_module(f"{self.package}.{name}"), self.attribute)
        return entry

    def summary(self, name: str) -> str:
        """First line of the entry's docstring, read without importing the module."""
        if name not in self.names():
            raise UnknownNameError(self.kind, name, self.names())
        return _first_doc_line(self.package, name)


@cache
def _first_doc_line(package: str, name: str) -> str:
    source = (resources.files(package) / f"{name}.py").read_text(encoding="utf-8")
    doc = ast.get_docstring(ast.parse(source)) or ""
    return doc.splitlines()[0] if doc else ""
