"""Draw training runs and scores: curves, sheets of pictures, gain against time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    sources: Annotated[
        list[Path],
        typer.Argument(help="Folders of runs, or the one above; files of evaluate --json or folders of them."),
    ],
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder; default: report in the first.")] = None,
    pictures: Annotated[
        list[Path] | None, typer.Option(help="Clean pictures or folders, to try the runs' weights on.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
) -> None:
    """Draw runs and scores as PNG and SVG, and one HTML page with everything."""
    from undegrade import api

    for path in api.report(sources, output, pictures=pictures or (), device=device):
        typer.echo(path)
