"""What a run tells: a JSON line per event in a file always, a line on the terminal, TensorBoard if it is installed."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from undegrade.core.replacing import replacing

__all__ = ["RunLog"]


class RunLog:
    """Writes ``log.jsonl`` in the run's folder and shows progress.

    Args:
        folder: of the run.
        total: steps of the whole run.
        after: step that the run goes on from; what the file tells of later steps, which come again, is dropped.
        quiet: only the file.
        leads: whether this is the process that speaks for all that train together; the others tell nothing.
    """

    def __init__(self, folder: Path, total: int, *, after: int = 0, quiet: bool = False, leads: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if leads:
            _cut(folder / "log.jsonl", after)
        self._file = (folder / "log.jsonl" if leads else Path(os.devnull)).open("a", encoding="utf-8")
        quiet = quiet or not leads
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True),
            disable=quiet,
        )
        self._task = self._bar.add_task(folder.name, total=total, note="")
        self._board = None if quiet else _tensorboard(folder, after)
        self._note: dict[str, str] = {}

    def __enter__(self) -> RunLog:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        self._file.close()
        if self._board is not None:
            self._board.close()

    def event(self, kind: str, step: int, **values: Any) -> None:
        """One event; numbers among ``values`` also go to the terminal line and to TensorBoard."""
        self._file.write(json.dumps({"event": kind, "step": step, "time": round(time.time(), 3), **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            if isinstance(value, int | float):
                self._note[name] = f"{name} {value:.4g}"
                if self._board is not None:
                    self._board.add_scalar(f"{kind}/{name}", value, step)
        self._bar.update(self._task, note="  ".join(self._note.values()))

    def say(self, text: str) -> None:
        """A line on the terminal."""
        if not self._bar.disable:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def picture(self, name: str, step: int, picture: Any) -> None:
        """A (C, H, W) picture in 0..1 for TensorBoard."""
        if self._board is not None:
            self._board.add_image(name, picture, step)

    def advance(self, progress: float) -> None:
        """Moves the bar to ``progress`` in 0..1."""
        total = self._bar.tasks[0].total or 0
        self._bar.update(self._task, completed=progress * total)


def _cut(file: Path, after: int) -> None:
    """Leaves the events up to step ``after``; a line that a kill or a full disk cut off goes too."""
    if not file.exists():
        return
    kept = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            if json.loads(line)["step"] <= after:
                kept.append(line + "\n")
    with replacing(file) as whole:
        whole.write_text("".join(kept), encoding="utf-8")


def _tensorboard(folder: Path, after: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=after + 1)
