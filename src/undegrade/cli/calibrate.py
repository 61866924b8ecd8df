"""Score degraded inputs against what the benchmarks' own inputs score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from undegrade.cli import _complete
from undegrade.cli._report import check_report, write_text

__all__ = ["command"]


def command(
    data: Annotated[Path, typer.Argument(help="Folder with train/, train_pairs/, depth/ and test/SET.")],
    *,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", "-t", autocompletion=_complete.tasks, help="Only this task; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the degradations.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures there; - for stdout.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table there.")] = None,
) -> None:
    """Degrade the pictures of a data folder and set their PSNR beside the figures of the literature."""
    from undegrade import api

    check_report(json_file)
    check_report(markdown, [json_file], "--markdown")
    quiet = str(json_file) == "-"
    calibration = api.calibrate(data, tasks=task or (), seed=seed, progress=None if quiet else _print)
    text = json.dumps(calibration.to_dict(), indent=2) + "\n"
    for path, content in ((json_file, text), (markdown, calibration.to_markdown())):
        if path is not None:
            write_text(path, content)
    for name in calibration.missing:
        typer.echo(f"undegrade: {data / name}: not there, left out", err=True)


def _print(row: Any) -> None:
    mark = " " if row.met else "!"
    what = f"{row.task}, {row.set.removeprefix('test/')}, {row.condition}"
    typer.echo(f"{mark} {what:<72} {row.psnr:6.2f}  target {row.target:6.2f}  {row.psnr - row.target:+6.2f}  {row.why}")
