"""What there is by name: tasks, networks, presets, weights, recipes, protocols."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

COLUMNS = {
    "tasks": ("name", "aliases", "parameters", "summary"),
    "networks": ("name", "title"),
    "presets": ("name", "network"),
    "weights": ("name", "task", "network", "parameters", "licence", "title"),
    "recipes": ("name", "task", "network", "title"),
    "protocols": ("name", "title", "colour", "border"),
}
"""What the tables show; JSON has everything."""


def command(
    kind: Annotated[str, typer.Argument(help="tasks, networks, presets, weights, recipes or protocols.")],
    pattern: Annotated[str, typer.Argument(help="Only names that fit, for example '*rain*'.")] = "*",
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Show what there is by name."""
    from undegrade import api

    rows = api.catalogue(kind, pattern)
    if as_json:
        print(json.dumps({"schema": 1, kind: rows}, indent=2))
    else:
        _print_table(kind, rows)


def _print_table(kind: str, rows: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in COLUMNS[kind]:
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    for row in rows:
        table.add_row(*(_text(row[column]) for column in COLUMNS[kind]))
    console = Console(markup=False, emoji=False)  # a title in brackets is no style
    if not console.is_terminal:
        console.width = 400  # each row on one line, for grep and the like
    console.print(table)


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case list():
            return ", ".join(str(part["name"]) if isinstance(part, dict) else str(part) for part in value)
        case dict():
            return ", ".join(f"{name} {_range(part)}" for name, part in value.items())
        case _:
            return str(value)


def _range(part: Any) -> str:
    if isinstance(part, dict):
        return f"{part.get('low', 0):g}-{part.get('high', 0):g}"
    return "/".join(map(str, part)) if isinstance(part, list | tuple) else str(part)
