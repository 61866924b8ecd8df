"""Figures from papers and project pages, one JSON file per table, each with its source and its ruler.

They are copied, not measured here, and are shown as such.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["Published", "Table", "beside", "tables"]


@dataclass(frozen=True)
class Published:
    """One published figure: mean over the full test set.

    Attributes:
        method: name of the method in the table.
        set: id of the test set (see `undegrade.data.layouts`).
        strength: sigma, quality, scale or pattern; None where the task has none, or any.
        psnr, ssim: as printed.
    """

    method: str
    set: str
    strength: int | str | None
    psnr: float | None
    ssim: float | None


@dataclass(frozen=True)
class Table:
    """One published table.

    Attributes:
        name: of the file.
        title, source: for people.
        task: its name.
        protocol: the ruler that the system's own rows were taken with.
        parameter: what ``strength`` of the rows is, for example ``sigma``.
        own: the methods of the system that published the table.
        notes: what a reader must know before comparing.
        rows: the figures.
    """

    name: str
    title: str
    source: str
    task: str
    protocol: str
    parameter: str | None
    own: tuple[str, ...]
    notes: tuple[str, ...]
    rows: tuple[Published, ...]


@cache
def tables() -> tuple[Table, ...]:
    """All tables, by file name."""
    files = (entry for entry in resources.files(__name__).iterdir() if entry.name.endswith(".json"))
    return tuple(_table(file.name[:-5], json.loads(file.read_text("utf-8"))) for file in sorted(files, key=str))


def _table(name: str, data: Mapping[str, Any]) -> Table:
    return Table(
        name=name,
        title=data["title"],
        source=data["source"],
        task=data["task"],
        protocol=data["protocol"],
        parameter=data["parameter"],
        own=tuple(data["own"]),
        notes=tuple(data["notes"]),
        rows=tuple(Published(*row) for row in data["rows"]),
    )


def beside(task: str, set_id: str, strength: Mapping[str, Any] | None = None) -> list[tuple[Table, list[Published]]]:
    """The published rows for a task on a test set, table by table, best PSNR first.

    Args:
        task: name of the task.
        set_id: id of the test set.
        strength: parameters of the run; rows of another sigma, quality or scale are left out.
    """
    found = []
    for table in tables():
        wanted = (strength or {}).get(table.parameter) if table.parameter else None
        rows = [
            row
            for row in table.rows
            if row.set == set_id and (row.strength is None or wanted is None or row.strength == wanted)
        ]
        if table.task == task and rows:
            found.append((table, sorted(rows, key=lambda row: -(row.psnr or 0.0))))
    return found
