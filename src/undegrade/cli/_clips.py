"""The videos among the paths of `undegrade restore`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from undegrade.core.errors import UndegradeError, UsageError

__all__ = ["restore"]

STOPPED = 130
"""Exit status after Ctrl-C, as shells have it."""


def restore(
    clips: Sequence[str | Path],
    output: str | Path | None,
    wish: Mapping[str, Any],
    *,
    skip_existing: bool = False,
    json_file: Path | None = None,
) -> int:
    """Restores each video, says what became of it, and returns the exit status.

    Raises:
        UsageError: no task is named, or the call is wrong.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from undegrade import api

    if wish.get("weights") is None and (wish.get("task") or "auto") == "auto":
        raise UsageError(f"{clips[0]}: a video needs a task, for example -t denoise: auto would choose frame by frame")
    if len(clips) > 1 and output is not None and Path(output).suffix:
        raise UsageError(f"{output}: one file name for several videos: give a folder")
    restorer = api.load(**wish)
    errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("frame {task.completed:.0f}/{task.total:.0f}"),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )
    results: list[dict[str, Any]] = []
    status = 0
    with bar:
        for clip in clips:
            line = bar.add_task(Path(clip).name, total=1)
            target = api.video_target(clip, output)
            if skip_existing and target.exists():
                results.append({"input": str(clip), "output": str(target), "status": "skipped"})
                continue
            try:
                made = api.restore_video(
                    clip,
                    target,
                    restorer,
                    progress=lambda done, total, line=line: bar.update(line, completed=done, total=total),
                )
            except KeyboardInterrupt:
                errors.print(f"undegrade: {clip}: stopped; the same command goes on where it was")
                return STOPPED
            except UndegradeError as error:
                errors.print(f"undegrade: {error}")
                results.append({"input": str(clip), "output": None, "status": "failed", "error": str(error)})
                status = 1
                continue
            for note in made.notes:
                errors.print(f"undegrade: {clip}: {note}")
            results.append({"input": str(clip), "status": "done", **made.to_dict()})
            text = f"{clip} -> {made.target} ({made.frames} frames, {made.seconds:.2f} s of video)"
            (errors if str(json_file) == "-" else Console(highlight=False, markup=False, soft_wrap=True)).print(text)
    if json_file is not None:
        text = json.dumps({"schema": 1, "restorer": restorer.info, "results": results}, indent=2, default=str) + "\n"
        if str(json_file) == "-":
            sys.stdout.write(text)
        else:
            json_file.write_text(text, encoding="utf-8")
    return status
