"""The tasks, one file each. ``get("derain")`` accepts names and aliases."""

from __future__ import annotations

from undegrade.core.catalog import Catalog
from undegrade.core.errors import UnknownNameError
from undegrade.tasks._task import Parameter, Task

__all__ = ["Parameter", "Task", "catalog", "get"]

catalog: Catalog[Task] = Catalog("task", "undegrade.tasks", "TASK")


def get(name: str) -> Task:
    """The task called ``name``, or with that alias.

    Raises:
        UnknownNameError: there is none.
    """
    names = catalog.names()
    if name in names:
        return catalog.get(name)
    aliases = {alias: task for task in catalog.entries().values() for alias in task.aliases}
    if name in aliases:
        return aliases[name]
    raise UnknownNameError("task", name, [*names, *aliases])
