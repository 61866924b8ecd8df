"""A folder read as a catalogue: every module in it offers one object under an agreed name.

Adding a network or a task is adding a file. Nothing is imported until it is asked for, so listing names
costs a directory scan and no torch. Other packages add entries of their own by an entry point in a group of the
folder's name (``undegrade.networks``, ``undegrade.tasks``) that names a module.
"""

from __future__ import annotations

import ast
import importlib
from functools import cache
from importlib import metadata, resources, util
from pathlib import Path
from typing import Generic, TypeVar

from undegrade.core.errors import UnknownNameError, UsageError, one_line

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
        return sorted({*self._own(), *self._plugins()})

    def get(self, name: str) -> T:
        """The entry called ``name``; one of the folder goes before a plugin's.

        Raises:
            UnknownNameError: there is none; the message offers the nearest name.
            UsageError: it is a plugin's and cannot be imported.
        """
        if name in self._own():
            entry: T = getattr(importlib.import_module(f"{self.package}.{name}"), self.attribute)
            return entry
        module = self._module(name)
        try:
            entry = getattr(importlib.import_module(module), self.attribute)
        except Exception as error:  # whatever a foreign package does wrong
            raise UsageError(
                f"{self.kind} '{name}': the plugin {module} cannot be loaded "
                f"({type(error).__name__}: {one_line(error)}); mend or uninstall it"
            ) from error
        if getattr(entry, "name", name) != name:
            raise UsageError(
                f"{self.kind} '{name}': {module}.{self.attribute} calls itself '{entry.name}'; "  # type: ignore[attr-defined]
                "give the entry point that name"
            )
        return entry

    def entries(self) -> dict[str, T]:
        """All entries by name, plugins' first; without plugins that are broken, which say so only when asked for.

        So a table made of them by another key (an alias, a parameter) keeps the folder's entry where a plugin's has
        the same.
        """
        found = {}
        own = set(self._own())
        for name in sorted(self.names(), key=lambda name: (name in own, name)):
            try:
                found[name] = self.get(name)
            except UsageError:
                continue
        return found

    def summary(self, name: str) -> str:
        """First line of the entry's docstring, read without importing the module."""
        if name in self._own():
            source = resources.files(self.package) / f"{name}.py"
            return _first_doc_line(source.read_text(encoding="utf-8"))
        module = self._module(name)
        try:
            found = util.find_spec(module)
            if found is None or found.origin is None:
                return "plugin, not found"
            return _first_doc_line(Path(found.origin).read_text(encoding="utf-8"))
        except Exception as error:  # as in get; one that is broken does not hide the others
            return f"plugin, cannot be read ({type(error).__name__})"

    def _own(self) -> list[str]:
        files = (entry.name for entry in resources.files(self.package).iterdir())
        return [name[:-3] for name in files if name.endswith(".py") and not name.startswith("_")]

    def _plugins(self) -> dict[str, str]:
        return _entry_points(self.package)

    def _module(self, name: str) -> str:
        plugins = self._plugins()
        if name not in plugins:
            raise UnknownNameError(self.kind, name, self.names())
        return plugins[name]


@cache
def _entry_points(group: str) -> dict[str, str]:
    """Name -> module of what other packages add."""
    return {entry.name: entry.module for entry in metadata.entry_points(group=group)}


@cache
def _first_doc_line(source: str) -> str:
    doc = ast.get_docstring(ast.parse(source)) or ""
    return doc.splitlines()[0] if doc else ""
