"""Restore pictures: files and folders in, restored files out."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from undegrade.core.errors import UsageError

STOPPED = 130
"""Exit status after Ctrl-C, as shells have it."""


def command(
    context: typer.Context,
    *,
    paths: Annotated[list[Path], typer.Argument(help="Pictures and folders of pictures.", readable=False)],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File or folder; default: photo.restored.png beside photo.jpg."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", "-t", help="What to take away, or several: derain,denoise. Default: denoising."),
    ] = None,
    sigma: Annotated[str | None, typer.Option(help="Noise level in steps of 0-255, 0-75, or auto.")] = None,
    quality: Annotated[str | None, typer.Option(help="JPEG quality, 1-100, or auto.")] = None,
    scale: Annotated[int | None, typer.Option(help="Enlargement: 2, 3 or 4.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Bayer pattern: RGGB, BGGR, GRBG or GBRG.")] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", "-w", help="Weights: a name (undegrade list weights) or a file.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    backend: Annotated[str, typer.Option(help="What runs the network: torch.")] = "torch",
    tile: Annotated[str, typer.Option(help="auto, none, official, or the side of the tiles in pixels.")] = "auto",
    max_memory: Annotated[int | None, typer.Option(help="MB that one tile may take; default: what is free.")] = None,
    strength: Annotated[float, typer.Option(help="0 leaves the picture as it is, 1 is the full result.")] = 1.0,
    ensemble: Annotated[int, typer.Option(help="8 averages over turned and mirrored copies, 8 times as slow.")] = 1,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Folders within folders as well.")] = False,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave out what is there already.")] = False,
    keep_format: Annotated[bool, typer.Option("--keep-format", help="Format of the input instead of PNG.")] = False,
    max_pixels: Annotated[float, typer.Option(help="Refuse files of more megapixels.")] = 300,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what was done there; - for stdout.")] = None,
) -> int:
    """Restore pictures: files and folders in, restored files out.

    Exit status 0: all done; 1: some failed, each named with the reason; 2: the call is wrong.
    """
    from undegrade import api

    if backend != "torch":
        raise UsageError(f"backend={backend}: this version has torch only")
    jobs = api.plan_files(paths, output, recursive=recursive, keep_format=keep_format)
    wish: dict[str, Any] = {"sigma": _number(sigma), "quality": _number(quality), "scale": scale, "pattern": pattern}
    restorer = api.load(
        task=task or (None if weights else "denoising"),
        weights=weights,
        device=device,
        tile=_tile(tile),
        max_memory=None if max_memory is None else max_memory << 20,
        strength=strength,
        ensemble=ensemble,
        **{name: value for name, value in wish.items() if value is not None},
    )
    with _Watch(jobs, to_stderr=str(json_file) == "-") as watch:
        outcomes = api.restore_files(
            jobs, restorer, skip_existing=skip_existing, max_pixels=int(max_pixels * 1e6), progress=watch.progress
        )
        status = watch.follow(outcomes, show_cause=bool(context.obj))
    if json_file is not None:
        report = {
            "schema": 1,
            "restorer": restorer.info,
            "options": {"tile": tile, "strength": strength, "ensemble": ensemble, "device": device},
            "done": watch.count("done"),
            "skipped": watch.count("skipped"),
            "failed": watch.count("failed"),
            "left": [str(job.source) for job in jobs[len(watch.outcomes) :]],
            "results": [outcome.to_dict() for outcome in watch.outcomes],
        }
        _write(json.dumps(report, indent=2, default=str), json_file)
    return status


class _Watch:
    """The progress bar, and what is said about each file: jobs and outcomes of ``undegrade.inference.batch``."""

    def __init__(self, jobs: Sequence[Any], to_stderr: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.jobs, self.outcomes = jobs, list[Any]()
        self.errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        self.out = self.errors if to_stderr else Console(highlight=False, markup=False, soft_wrap=True)
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[files]}"),
            TimeRemainingColumn(),
            console=self.errors,
            transient=True,
            disable=not self.errors.is_terminal,
        )
        self.line = self.bar.add_task("", total=len(jobs), files=f"0/{len(jobs)}")

    def __enter__(self) -> _Watch:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def progress(self, number: int, share: float) -> None:
        """Called from the run: this share of this job is done."""
        name = self.jobs[number].source.name
        self.bar.update(self.line, completed=number + share, description=name, files=f"{number}/{len(self.jobs)}")

    def follow(self, outcomes: Iterator[Any], show_cause: bool) -> int:
        """Goes through the run, says what becomes of each file, and returns the exit status."""
        try:
            for number, outcome in enumerate(outcomes, start=1):
                self.outcomes.append(replace(outcome, cause=None))  # a traceback keeps whole pictures in memory
                self.bar.update(self.line, completed=number, files=f"{number}/{len(self.jobs)}")
                self._say(outcome, show_cause)
        except KeyboardInterrupt:
            left = [job.source.name for job in self.jobs[len(self.outcomes) :]]
            more = f" and {len(left) - 3} more" if len(left) > 3 else ""
            self.errors.print(f"undegrade: stopped; not restored: {', '.join(left[:3])}{more}")
            return STOPPED
        return 1 if self.count("failed") else 0

    def count(self, status: str) -> int:
        """How many outcomes have this status."""
        return sum(outcome.status == status for outcome in self.outcomes)

    def _say(self, outcome: Any, show_cause: bool) -> None:
        if outcome.status == "failed":
            if show_cause and outcome.cause is not None:
                self.errors.print("".join(traceback.format_exception(outcome.cause)), end="")
            self.errors.print(f"undegrade: {outcome.error}")
            return
        for note in outcome.notes:
            self.errors.print(f"undegrade: {outcome.source}: {note}")
        if outcome.status == "skipped":
            self.out.print(f"{outcome.source}: {outcome.target} is there already")
        else:
            self.out.print(f"{outcome.source} -> {outcome.target} ({outcome.seconds:.1f} s)")


def _number(word: str | None) -> float | int | str | None:
    """A number where the word is one; the task's own rule judges the rest."""
    for kind in (int, float):
        try:
            return kind(word) if word is not None else None
        except ValueError:
            continue
    return word


def _tile(word: str) -> int | str | None:
    return None if word in ("none", "off") else int(word) if word.isdigit() else word


def _write(text: str, path: Path) -> None:
    if str(path) == "-":
        sys.stdout.write(text + "\n")
    else:
        path.write_text(text + "\n", encoding="utf-8")
