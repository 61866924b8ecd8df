"""Score restored pictures by PSNR and SSIM, each and on average, by a named protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from undegrade.cli import _complete
from undegrade.cli._pairs import pairs
from undegrade.cli._report import check_report, write_text
from undegrade.cli.restore import tile_of


def command(
    *,
    task: Annotated[
        str,
        typer.Option("--task", "-t", autocompletion=_complete.tasks, help="What is restored: name or alias of a task."),
    ],
    inputs: Annotated[Path | None, typer.Option(help="Folder of degraded pictures.")] = None,
    targets: Annotated[Path | None, typer.Option(help="Folder of what they should look like.")] = None,
    clean: Annotated[Path | None, typer.Option(help="Instead: clean pictures, degraded here by the task.")] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            "-w",
            autocompletion=_complete.weights,
            help="Weights: a name or a file; default: the task's own. none: the inputs themselves are scored.",
        ),
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="How it is measured (undegrade list protocols); default: the task's own.")
    ] = None,
    sigma: Annotated[float | None, typer.Option(help="Noise level, 0-75.")] = None,
    quality: Annotated[int | None, typer.Option(help="JPEG quality, 1-100.")] = None,
    scale: Annotated[int | None, typer.Option(help="Enlargement: 2, 3 or 4.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Bayer pattern: RGGB, BGGR, GRBG or GBRG.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter that the task of a plugin has, as name=value.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic degradation.")] = 0,
    pairing: Annotated[str, typer.Option(help="Rule that finds the target of an input, e.g. before-underscore.")] = (
        "stem"
    ),
    recursive: Annotated[bool, typer.Option("--recursive", help="Look into subfolders too.")] = False,
    limit: Annotated[int | None, typer.Option(help="Score only the first so many pictures.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    tile: Annotated[str, typer.Option(help="auto, none, official, or the side of the tiles in pixels.")] = "auto",
    ensemble: Annotated[int, typer.Option(help="1, or 8 for the self-ensemble over flips and transpositions.")] = 1,
    save: Annotated[Path | None, typer.Option(help="Folder for the restored pictures.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures there; - for stdout.")] = None,
    paper: Annotated[bool, typer.Option("--paper", help="Set published figures beside ours.")] = False,
) -> int:
    """Score restored pictures against their targets, and the untouched inputs beside them."""
    from undegrade import api

    check_report(json_file, [weights])
    quiet = str(json_file) == "-"
    own = {"sigma": sigma, "quality": quality, "scale": scale, "pattern": pattern}
    table = _Table(quiet)
    how: dict[str, Any] = {
        "inputs": inputs,
        "targets": targets,
        "clean": clean,
        "weights": weights,
        "protocol": protocol,
        "seed": seed,
        "pairing": pairing,
        "recursive": recursive,
        "limit": limit,
        "device": device,
        "tile": tile_of(tile),
        "ensemble": ensemble,
        "save": save,
        "progress": table.row,
    }
    parameters = pairs(settings, own={"task", *how, *own})
    parameters |= {name: value for name, value in own.items() if value is not None}
    report = api.evaluate(task, **how, **parameters)
    if json_file is not None:
        text = json.dumps(report.to_dict(), indent=2) + "\n"
        write_text(json_file, text)
    if not quiet:
        table.end(report)
        if paper:
            _beside(report)
    for name, why in report.failed.items():
        typer.echo(f"undegrade: {name}: {why}", err=True)
    return 1 if report.failed else 0


class _Table:
    """Rows as they come, every measure for output and input side by side."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.columns: tuple[str, ...] = ()

    def row(self, image: Any) -> None:
        if self.quiet:
            return
        figures = image.to_dict()
        if not self.columns:
            self.columns = tuple(key for key in figures if key != "name")
            print(f"{'picture':<28}" + "".join(f"{key.replace('_', ' '):>13}" for key in self.columns), flush=True)
        self._line(image.name, figures)

    def _line(self, name: str, figures: dict[str, Any]) -> None:
        cells = (
            f"{figures[key]:.4f}" if "ssim" in key or "mae" in key else f"{figures[key]:.2f}" for key in self.columns
        )
        print(f"{name[-28:]:<28}" + "".join(f"{cell:>13}" for cell in cells), flush=True)

    def end(self, report: Any) -> None:
        """The mean, and everything the figures depend on."""
        self._line(f"mean of {len(report.images)}", report.mean)
        strength = ", ".join(f"{name} {value}" for name, value in report.strength.items())
        print(f"\n{report.task} on {report.set}{f', {strength}' if strength else ''}; weights: {report.weights}")
        if report.options:
            print(f"  run with     {', '.join(f'{name} {value}' for name, value in report.options.items())}")
        print(f"  inputs       {report.inputs}")
        for key, words in report.protocol.items():
            if key not in ("name", "title"):
                print(f"  {key.replace('_', ' '):<12} {words}")
        print(f"  ruler        {report.protocol['name']}: {report.protocol['title']}")


def _beside(report: Any) -> None:
    """Published figures under ours, each table with its source."""
    from undegrade import api

    comparisons = api.published(report)
    if not comparisons:
        print(f"\nno published figures for {report.task} on {report.set} at this strength")
    for comparison in comparisons:
        print(f"\npublished: {comparison.title} ({comparison.ruler}); source: {comparison.source}")
        for method, psnr, ssim in comparison.rows:
            print(f"  {method:<28}{_figure(psnr, 2):>9}{_figure(ssim, 4):>9}")
        for note in comparison.notes:
            print(f"  note: {note}")


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
