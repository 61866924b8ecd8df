"""Train a network by a recipe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def command(
    recipe: Annotated[str, typer.Argument(help="A recipe file (YAML) or the name of a shipped recipe.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Changes, written key=value.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder in which the run's folder is made.")] = Path("runs"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew even if there is a checkpoint.")] = False,
) -> None:
    """Train a network by a recipe; goes on where an interrupted run stopped. Works under torchrun too."""
    from undegrade import api

    card = api.train(recipe, overrides or [], runs=runs, device=device, fresh=fresh)
    if os.environ.get("RANK", "0") == "0":  # under torchrun, one of them says it
        typer.echo(card)
