"""Turn an official checkpoint into safetensors with a card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from undegrade.cli import _complete

__all__ = ["command"]


def command(
    checkpoint: Annotated[Path, typer.Argument(help="The file to convert: .pth, .pt, .pkl, .ckpt, .safetensors.")],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The .safetensors file to write; its card lies beside.")
    ],
    network: Annotated[
        str | None, typer.Option(help="The network that the file is of; default: found by the names inside.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Its preset; default: found in the file.")] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task", "-t", autocompletion=_complete.tasks, help="What the weights take away: name or alias of a task."
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="One line for people.")] = None,
    licence: Annotated[str | None, typer.Option(help="Under which terms the weights may be used.")] = None,
) -> None:
    """Turn an official checkpoint into safetensors with a card. The file is read without running code from it."""
    from undegrade import api

    said = {"network": network, "preset": preset, "task": task, "title": title, "licence": licence}
    card = api.convert(checkpoint, output, **{name: value for name, value in said.items() if value is not None})
    typer.echo(f"{output} and {card}")
