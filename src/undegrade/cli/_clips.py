"""The videos among the paths of `undegrade restore`."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from undegrade.cli._console import plain
from undegrade.cli._signals import status_of
from undegrade.core.errors import UndegradeError, UsageError
from undegrade.core.names import printable

__all__ = ["restore"]


def restore(
    clips: Sequence[str | Path],
    output: str | Path | None,
    wish: Mapping[str, Any],
    *,
    skip_existing: bool = False,
    max_pixels: int,
    to_stderr: bool = False,
    debug: bool = False,
) -> tuple[int, dict[str, Any]]:
    """Restores each video and says what became of it: the exit status, and the report as it stands in JSON.

    Nothing goes to stdout if ``to_stderr``; ``debug`` shows tracebacks.

    Raises:
        UsageError: no task is named, or the call is wrong.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from undegrade import api

    targets = api.video_targets(clips, output)
    restorer = api.load(**wish)
    if any(part.get("task") == "auto" for part in restorer.info.get("chain", [restorer.info])):
        raise UsageError(f"{clips[0]}: a video needs a task, for example -t denoise: auto would choose frame by frame")
    errors = plain(stderr=True)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("frame {task.completed:.0f}/{task.total:.0f}"),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )
    out = errors if to_stderr else plain()
    results: list[dict[str, Any]] = []
    report: dict[str, Any] = {"restorer": restorer.info, "results": results, "left": []}
    status = 0
    with bar:
        for number, (clip, target) in enumerate(zip(clips, targets, strict=True)):
            line = bar.add_task(printable(Path(clip).name), total=1)
            if skip_existing and target.exists():
                out.print(printable(f"{clip}: {target} is there already"))
                results.append({"input": str(clip), "output": str(target), "status": "skipped"})
                continue
            try:
                made = api.restore_video(
                    clip,
                    target,
                    restorer,
                    max_pixels=max_pixels,
                    progress=lambda done, total, line=line: bar.update(line, completed=done, total=total),
                )
            except KeyboardInterrupt as stop:
                errors.print(f"undegrade: {printable(str(clip))}: stopped; the same command goes on where it was")
                report["left"] = [str(one) for one in clips[number:]]
                return status_of(stop), report
            except (UndegradeError, OSError) as error:
                if debug:
                    traceback.print_exc()
                told = str(error) if isinstance(error, UndegradeError) else f"{clip}: {error}"
                errors.print(f"undegrade: {printable(told)}")
                results.append({"input": str(clip), "output": None, "status": "failed", "error": told})
                status = 1
                continue
            for note in made.notes:
                errors.print(f"undegrade: {printable(f'{clip}: {note}')}")
            results.append({"input": str(clip), "status": "done", **made.to_dict()})
            names = printable(f"{clip} -> {made.target}")
            out.print(f"{names} ({made.frames} frames, {made.seconds:.2f} s of video)")
    return status, report
