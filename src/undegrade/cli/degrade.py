"""Make degraded versions of clean pictures, or a contact sheet of them."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from undegrade.cli import _complete, _signals
from undegrade.cli._pairs import pairs
from undegrade.core.errors import UsageError
from undegrade.core.names import same_file
from undegrade.core.replacing import replacing

__all__ = ["command"]


def command(
    context: typer.Context,
    *,
    paths: Annotated[list[Path], typer.Argument(help="Clean pictures and folders of them.")],
    task: Annotated[
        str,
        typer.Option(
            "--task", "-t", autocompletion=_complete.tasks, help="Whose degradation: name or alias of a task."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the results (PNG), or a file for one picture.")
    ] = None,
    sigma: Annotated[float | None, typer.Option(help="Noise level, 0-75.")] = None,
    quality: Annotated[int | None, typer.Option(help="JPEG quality, 1-100.")] = None,
    scale: Annotated[int | None, typer.Option(help="How many times smaller: 2, 3 or 4.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Bayer pattern: RGGB, BGGR, GRBG or GBRG.")] = None,
    strength: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other strength of the model, as name=value; a pair of values is a range."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides everything random.")] = 0,
    contact_sheet: Annotated[
        Path | None,
        typer.Option("--contact-sheet", help="Write clean and degraded pictures side by side to this file."),
    ] = None,
    beside: Annotated[
        list[Path] | None, typer.Option(help="Real degraded pictures or folders to show on the contact sheet.")
    ] = None,
    columns: Annotated[int, typer.Option(help="Degraded versions in a row of the contact sheet.")] = 4,
) -> int:
    """Make degraded versions of clean pictures. The same seed and file name give the same result."""
    from PIL import Image

    from undegrade import api

    if output is None and contact_sheet is None:
        raise UsageError("nowhere to write: give -o FOLDER, or --contact-sheet FILE")
    wish: dict[str, Any] = {"sigma": sigma, "quality": quality, "scale": scale, "pattern": pattern}
    wish |= pairs(strength, own={"task", "output", "seed", "contact_sheet", "beside", "columns", "failed"})
    told = set[str]()

    def tell(line: str) -> None:
        if line not in told:  # of a picture that neither the sheet nor the folder gets
            typer.echo(f"undegrade: {line}", err=True)
        told.add(line)

    if contact_sheet is not None:
        _refuse_sheet(contact_sheet, [*paths, *(beside or ())])
        if output is not None:
            _refuse_result(contact_sheet, paths, output)
        how: dict[str, Any] = {"beside": beside or (), "columns": columns, "seed": seed, "failed": tell}
        sheet = api.contact_sheet(paths, task, **how, **wish)
        contact_sheet.parent.mkdir(parents=True, exist_ok=True)
        with replacing(contact_sheet) as part:
            sheet.save(part, format=Image.registered_extensions()[contact_sheet.suffix.lower()])
        typer.echo(contact_sheet)
    if output is not None:
        with _signals.heard():
            for done in api.degrade_files(paths, output, task, seed=seed, **wish):
                if done.error:
                    if context.obj and done.cause is not None:
                        traceback.print_exception(done.cause)
                    tell(done.error)
                else:
                    typer.echo(done.target)
    return 1 if told else 0


def _refuse_sheet(file: Path, sources: list[Path]) -> None:
    from PIL import Image

    Image.init()
    if Image.registered_extensions().get(file.suffix.lower()) not in Image.SAVE:
        raise UsageError(f"--contact-sheet {file}: end in a picture's suffix, such as .png or .jpg")
    if any(same_file(file, source) or (file.exists() and same_file(file.parent, source)) for source in sources):
        raise UsageError(f"--contact-sheet {file}: would replace one of the pictures: choose another file")


def _refuse_result(sheet: Path, paths: list[Path], output: Path) -> None:
    """Raises a UsageError where one of the results would be written over the sheet."""
    stems = {one.stem for path in paths for one in (path.iterdir() if path.is_dir() else [path])}
    if sheet.resolve() in {output.resolve(), *(output.resolve() / f"{stem}.png" for stem in stems)}:
        raise UsageError(f"--contact-sheet {sheet}: a degraded picture is written there: choose another file")
