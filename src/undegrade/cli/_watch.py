"""What is said while files are restored: a progress bar, a line for each file, and the report in JSON."""

from __future__ import annotations

import json
import tempfile
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from undegrade.cli._console import plain
from undegrade.cli._report import write_report
from undegrade.cli._signals import status_of
from undegrade.core.names import printable

__all__ = ["Watch"]

FEW = 4
"""What `auto` found is told of so many pages or frames of a file that differ."""


class Watch:
    """Follows a run of ``undegrade.inference``; a context manager.

    Args:
        to_stderr: nothing goes to stdout.
        report: keep what ``write`` needs; on disk, for there may be a million files.
    """

    def __init__(self, *, to_stderr: bool, report: bool) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.errors = plain(stderr=True)
        self.out = self.errors if to_stderr else plain()
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[files]}"),
            TimeRemainingColumn(),
            console=self.errors,
            transient=True,
            disable=not self.errors.is_terminal,
        )
        self.line = self.bar.add_task("", total=None, files="0")
        self.counts = Counter[str]()
        self.info: dict[str, Any] | None = None
        self.left: list[str] = []
        self._total: int | None = None
        self._begun: dict[int, Any] = {}
        self._results: TextIO | None = None
        if report:
            self._results = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 (closed in __exit__)

    def __enter__(self) -> Watch:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        if self._results:
            self._results.close()

    def expect(self, scan: Callable[[], Iterable[Any]]) -> None:
        """Counts the jobs of ``scan`` beside the run, where a person looks at the bar."""

        def count() -> None:
            with suppress(Exception):  # as of a store that fails: the run itself tells of it
                self._total = sum(1 for _ in scan())

        if not self.bar.disable:
            threading.Thread(target=count, daemon=True).start()

    def begun(self, jobs: Iterable[Any]) -> Iterator[Any]:
        """The jobs as the run takes them."""
        for number, job in enumerate(jobs):
            self._begun[number] = job
            yield job

    def tell(self, info: dict[str, Any]) -> None:
        """Takes what the restorer says of itself."""
        self.info = info

    def progress(self, number: int, share: float) -> None:
        """Called from the run: this share of this job is done."""
        job = self._begun.get(number)
        self._update(printable(job.source.name) if job else "", share)

    def follow(self, outcomes: Iterator[Any], show_cause: bool, rest: Iterable[Any]) -> int:
        """Goes through the run, says what becomes of each file, and returns the exit status.

        Args:
            outcomes: of the run.
            show_cause: a traceback for each failure.
            rest: the jobs that have not begun, when it was interrupted.
        """
        try:
            for outcome in outcomes:
                self._take(outcome, show_cause)
        except KeyboardInterrupt as stop:
            self.left = [str(job.source) for job in self._begun.values()] + [str(job.source) for job in rest]
            names = ", ".join(Path(printable(name)).name for name in self.left[:3])
            more = f" and {len(self.left) - 3} more" if len(self.left) > 3 else ""
            self.errors.print(f"undegrade: stopped; not restored: {names or 'nothing'}{more}")
            return status_of(stop)
        if sum(self.counts.values()) > 1:
            self._sum_up()
        return 1 if self.counts["failed"] else 0

    def write(self, path: Path, **about: Any) -> None:
        """Writes the report as JSON to a file, or to stdout for ``-``."""
        write_report(path, partial(self._report, about))

    def _report(self, about: dict[str, Any], file: TextIO) -> None:
        assert self._results is not None
        counts = {status: self.counts[status] for status in ("done", "skipped", "failed")}
        head = {"schema": 1, "restorer": self.info, **about, **counts, "left": self.left}
        file.write(json.dumps(head, indent=2, default=str)[:-2] + ',\n  "results": [')
        self._results.seek(0)
        for number, line in enumerate(self._results):
            file.write(f"{',' if number else ''}\n    {line.rstrip()}")
        file.write("\n  ]\n}\n")

    def _take(self, outcome: Any, show_cause: bool) -> None:
        self.counts[outcome.status] += 1
        number = next((number for number, job in self._begun.items() if job.source == outcome.source), None)
        if number is not None:
            del self._begun[number]
        if self._results:
            self._results.write(json.dumps(outcome.to_dict(), default=str) + "\n")
        self._update("", 0.0)
        self._say(outcome, show_cause)

    def _update(self, name: str, share: float) -> None:
        done = sum(self.counts.values())
        files = f"{done}/{self._total}" if self._total is not None else str(done)
        self.bar.update(self.line, completed=done + share, total=self._total, description=name, files=files)

    def _sum_up(self) -> None:
        """One line for many: a failure may have scrolled away."""
        words = {"done": "restored", "skipped": "there already", "failed": "failed"}
        told = ", ".join(f"{self.counts[status]} {word}" for status, word in words.items() if self.counts[status])
        self.errors.print(f"undegrade: {told}")

    def _say(self, outcome: Any, show_cause: bool) -> None:
        if outcome.status == "failed":
            if show_cause and outcome.cause is not None:
                self.errors.print("".join(traceback.format_exception(outcome.cause)), end="")
            self.errors.print(f"undegrade: {printable(outcome.error)}")
            return
        source, target = printable(str(outcome.source)), printable(str(outcome.target))
        for note in outcome.notes:
            self.errors.print(f"undegrade: {source}: {printable(note)}")
        if outcome.status == "skipped":
            self.out.print(f"{source}: {target} is there already")
        else:
            found = list(dict.fromkeys(report["auto"]["summary"] for report in outcome.reports if "auto" in report))
            more = [f"and {len(found) - FEW} other answers"] if len(found) > FEW else []
            told = "".join(f"; {words}" for words in [" | ".join(found[:FEW]), *more] if words)
            self.out.print(f"{source} -> {target} ({outcome.seconds:.1f} s{told})")
