"""Restore pictures: files and folders in, restored files out."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from math import inf
from pathlib import Path
from typing import Annotated, Any

import typer

from undegrade.cli import _clips, _complete, _signals
from undegrade.cli._pairs import pairs
from undegrade.cli._report import check_report, write_text
from undegrade.cli._watch import Watch
from undegrade.core.errors import UsageError
from undegrade.core.urls import is_url
from undegrade.core.whole_number import whole_number


def command(
    context: typer.Context,
    *,
    paths: Annotated[list[str], typer.Argument(help="Pictures and folders of pictures.")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="File or folder; default: photo.restored.png beside photo.jpg."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            "-t",
            autocompletion=_complete.tasks,
            help="What to take away, or several: denoise,derain. Default: auto.",
        ),
    ] = None,
    sigma: Annotated[
        str | None,
        typer.Option(help="Noise level, 0-75, or auto; the shipped weights judge it themselves: see --strength."),
    ] = None,
    quality: Annotated[str | None, typer.Option(help="JPEG quality, 1-100, or auto; the same holds.")] = None,
    scale: Annotated[int | None, typer.Option(help="Enlargement: 2, 3 or 4.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Bayer pattern: RGGB, BGGR, GRBG or GBRG.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter that the task of a plugin has, as name=value.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            "-w",
            autocompletion=_complete.weights,
            help="Weights: a name (undegrade list weights) or a file.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    backend: Annotated[str, typer.Option(help="torch, compile, onnx, openvino, or auto: the fastest here.")] = "torch",
    dtype: Annotated[str, typer.Option(help="auto, float32, float16 or bf16.")] = "auto",
    tile: Annotated[str, typer.Option(help="auto, none, official, or the side of the tiles in pixels.")] = "auto",
    max_memory: Annotated[
        int | None,
        typer.Option(help="MB that one tile may take; default: half of what is free, 2048 at most; of a GPU 70 %."),
    ] = None,
    strength: Annotated[float, typer.Option(help="0 leaves the picture as it is, 1 is the full result.")] = 1.0,
    ensemble: Annotated[int, typer.Option(help="8 averages over turned and mirrored copies, 8 times as slow.")] = 1,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Folders within folders as well.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out pictures whose result is there already.")
    ] = False,
    keep_format: Annotated[
        bool, typer.Option("--keep-format", help="Write the format of the input instead of PNG.")
    ] = False,
    max_pixels: Annotated[float, typer.Option(help="Refuse files of more megapixels.")] = 300,
    manifest: Annotated[
        Path | None, typer.Option(help="Record of a large batch (SQLite): stopped or killed, it goes on from there.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what the manifest says has failed.")
    ] = False,
    shard: Annotated[str | None, typer.Option(help="3/8: the third of eight shares, for eight machines.")] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="local: this process; isolated: a child process, whose crash stops nothing; ray: a cluster. "
            "auto: isolated with --manifest, else local."
        ),
    ] = "auto",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for a report of what was done; - for stdout.")
    ] = None,
) -> int:
    """Restore pictures: files and folders in, restored files out.

    Exit status 0: all done; 1: some failed, each named with the reason; 2: the call is wrong.
    """
    from undegrade import api

    if retry_failed and manifest is None:
        raise UsageError("--retry-failed: failures are known from a manifest: give --manifest FILE")
    if not 1e-6 <= max_pixels < inf:
        raise UsageError(f"--max-pixels {max_pixels:g}: a positive number of megapixels, at least one pixel")
    if max_memory is not None and max_memory < 1:
        raise UsageError(f"--max-memory {max_memory}: a positive number of MB")
    plan = {"recursive": recursive, "keep_format": keep_format, "shard": api.parse_shard(shard) if shard else None}
    check_report(json_file, [*paths, manifest])
    clips = [path for path in paths if api.is_video(path)]
    if clips and (manifest or shard or engine != "auto"):
        raise UsageError(
            f"{clips[0]}: --manifest, --shard and --engine are for pictures (a video goes on by itself): "
            "restore videos in a call without them"
        )
    paths = [path for path in paths if path not in clips]
    jobs = api.scan_files(paths, output, **plan)
    given = {"sigma": _number(sigma), "quality": _number(quality), "scale": scale, "pattern": pattern}
    wish: dict[str, Any] = {
        "task": task,
        "weights": weights,
        "device": device,
        "backend": backend,
        "dtype": dtype,
        "tile": tile_of(tile),
        "max_memory": None if max_memory is None else max_memory << 20,
        "strength": strength,
        "ensemble": ensemble,
    }
    wish |= pairs(settings, own={*wish, *given}) | {name: value for name, value in given.items() if value is not None}
    to_stderr = str(json_file) == "-"
    failed, about = 0, dict[str, Any]()
    if clips:
        with _signals.heard():
            failed, videos = _clips.restore(
                clips,
                output,
                wish,
                skip_existing=skip_existing,
                max_pixels=int(max_pixels * 1e6),
                to_stderr=to_stderr,
                debug=bool(context.obj),
            )
        if failed not in (0, 1) or not paths:
            left = [*videos["left"], *map(str, paths)] if failed not in (0, 1) else []
            for path in left[1:]:
                typer.echo(f"undegrade: {path}: not begun", err=True)
            if json_file is not None:
                told = {
                    "schema": 1,
                    "restorer": videos["restorer"],
                    "results": [],
                    "videos": videos["results"],
                    "left": left,
                }
                text = json.dumps(told, indent=2, default=str) + "\n"
                write_text(json_file, text)
            return failed
        about["videos"] = videos["results"]
    with (
        _signals.heard(),
        Watch(to_stderr=to_stderr, report=json_file is not None) as watch,
        _opened(manifest, {**wish, **plan, "output": _resolved(output)}, retry_failed) as record,
    ):
        outcomes = api.restore_files(
            jobs,
            partial(api.load, **wish),
            engine=("isolated" if manifest else "local") if engine == "auto" else engine,
            manifest=record,
            skip_existing=skip_existing,
            max_pixels=int(max_pixels * 1e6),
            progress=watch.progress,
            begun=watch.begun,
            told=watch.tell,
        )
        watch.expect(partial(api.scan_files, paths, output, **plan))
        status = watch.follow(outcomes, bool(context.obj), jobs if record is None else record.unsettled(jobs))
        if record is not None and record.before:
            watch.errors.print(f"undegrade: {record.before} files were dealt with before, says {record.path}")
        if json_file is not None:
            options = {"tile": tile, "strength": strength, "ensemble": ensemble}
            options |= {"device": device, "backend": backend, "dtype": dtype}
            watch.write(json_file, **about, options=options, before=record.before if record else 0)
    return max(status, failed)


def _resolved(output: str | None) -> str | None:
    """The same for all spellings of a place."""
    return output if output is None or is_url(output) else os.path.abspath(output)  # noqa: PTH100 (keeps links)


def _opened(path: Path | None, settings: dict[str, Any], retry: bool) -> AbstractContextManager[Any]:
    """The manifest, if one is wanted."""
    from undegrade import api

    return nullcontext() if path is None else api.open_manifest(path, settings, retry=retry)


def _number(word: str | None) -> float | int | str | None:
    """A number where the word is one; the task's own rule judges the rest."""
    for kind in (int, float):
        try:
            return kind(word) if word is not None else None
        except ValueError:
            continue
    return word


def tile_of(word: str) -> int | str | None:
    """The Restorer's ``tile`` of the option's word."""
    if word in ("none", "off"):
        return None
    side = whole_number(word) if word.isascii() else None
    return word if side is None else side
