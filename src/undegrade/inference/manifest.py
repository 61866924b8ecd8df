"""A record of a large batch in one SQLite file: what is done, what failed and why; a killed run goes on from it.

Every file is published once, whenever the process is killed:

1. the result is complete in a hidden file beside its target;
2. the record says ``ready``, with that file's name and inode;
3. the file takes its name, which the file system does in one step;
4. the record says ``done``.

Killed between 2 and 4, the next run sees by the inode whether step 3 has happened, and finishes without restoring
again. Killed before 2, it removes the hidden file and begins anew. Only one run at a time may use the record.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from undegrade.core.encode import parts
from undegrade.core.errors import InputError, UsageError
from undegrade.core.urls import Location, Url
from undegrade.inference.outcome import Outcome, publish
from undegrade.inference.scan import Job

__all__ = ["Manifest"]

SCHEMA = 1
TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (
    source BLOB PRIMARY KEY,
    state TEXT NOT NULL,
    target BLOB,
    part BLOB,
    inode INTEGER,
    error TEXT,
    run TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 1,
    seconds REAL,
    finished REAL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_state ON files (state) WHERE state = 'failed';
"""


class Manifest:
    """The record of one batch; a context manager.

    Args:
        path: the SQLite file; made when it is not there.
        settings: what decides the results. A record of other settings is refused.
        retry: do those that failed again.

    Attributes:
        before: how many files earlier runs had settled, as far as this one has come.

    Raises:
        UsageError: another run uses the record, or it belongs to other settings.
        InputError: the file is no record, or cannot be written.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, retry: bool = False) -> None:
        self.path, self.retry, self.before = path, retry, 0
        if not path.absolute().parent.is_dir():
            raise InputError(f"{path}: cannot be used as a manifest (there is no such folder)")
        if path.is_file() and path.stat().st_size == 1:  # SQLite takes it for an empty one of its own
            raise InputError(f"{path}: not a manifest (a file of one byte); give another file")
        self._earlier: deque[Outcome] = deque()
        self._run = uuid.uuid4().hex
        self._lock = threading.Lock()  # files are published by a thread of their own
        try:
            self._base = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise InputError(f"{path}: cannot be used as a manifest ({error})") from error
        with ExitStack() as stack:
            stack.callback(self._base.close)
            self._begin(settings)
            stack.pop_all()  # nothing was raised: it stays open

    def _begin(self, settings: Mapping[str, Any]) -> None:
        """Takes the lock, makes the tables, compares the settings."""
        try:
            # The lock is held as long as the process lives, and is gone when it is killed.
            self._base.execute("PRAGMA locking_mode = EXCLUSIVE")
            held = {name for (name,) in self._base.execute("SELECT name FROM sqlite_master")}
            columns = {name for _, name, *_ in self._base.execute("PRAGMA table_info(about)")}
            if held and not (held >= {"about", "files"} and columns == {"name", "value"}):
                raise InputError(f"{self.path}: not a manifest (a database of something else); give another file")
            for line in ("journal_mode = WAL", "synchronous = NORMAL"):
                self._base.execute(f"PRAGMA {line}")
            self._base.executescript(TABLES)
            self._same(settings)
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise UsageError(
                    f"{self.path}: another run uses this manifest; wait for it, or give another file"
                ) from error
            raise InputError(f"{self.path}: cannot be used as a manifest ({error})") from error
        except sqlite3.DatabaseError as error:
            raise InputError(f"{self.path}: not a manifest ({error}); give another file") from error

    def __enter__(self) -> Manifest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._base.close()

    def follow(self, jobs: Iterable[Job], run: Callable[[Iterator[Job]], Iterator[Outcome]]) -> Iterator[Outcome]:
        """The outcomes of ``run`` for those of ``jobs`` that are not settled, and the failures of earlier runs.

        Args:
            jobs: all jobs of the batch.
            run: does jobs and publishes their results by ``publish``.
        """
        for outcome in run(self._open(jobs)):
            while self._earlier:
                yield self._earlier.popleft()
            if outcome.status != "done" or isinstance(outcome.target, Url):
                self._note(outcome)  # files that were done here were recorded when they were published
            yield outcome
        while self._earlier:
            yield self._earlier.popleft()

    def publish(self, job: Job, part: Path, target: Path) -> None:
        """Gives a finished file its name, recorded before and after.

        Raises:
            InputError: it cannot have this name.
        """
        place = _key(job.source)
        row = ("ready", os.fsencode(target), os.fsencode(part.name), _inode(part), place)
        self._execute("UPDATE files SET state = ?, target = ?, part = ?, inode = ? WHERE source = ?", *row)
        publish(job, part, target)
        self._done(place)

    def unsettled(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Those of ``jobs`` that no run has settled."""
        for job in jobs:
            rows = self._execute("SELECT state FROM files WHERE source = ?", _key(job.source))
            if not rows or rows[0][0] in ("started", "ready"):
                yield job

    def counts(self) -> dict[str, int]:
        """State -> number of files: ``started``, ``ready``, ``done``, ``skipped``, ``failed``."""
        return dict(self._execute("SELECT state, count(*) FROM files GROUP BY state"))

    def failures(self) -> list[tuple[str, str]]:
        """(input, reason) of all that failed."""
        rows = self._execute("SELECT source, error FROM files WHERE state = 'failed' ORDER BY source")
        return [(os.fsdecode(source), error) for source, error in rows]

    def _open(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """The jobs that are not settled."""
        for job in jobs:
            place = _key(job.source)
            rows = self._execute("SELECT state, target, part, inode, error, run FROM files WHERE source = ?", place)
            state, target, part, inode, error, run = rows[0] if rows else ("", b"", b"", 0, "", "")
            if run == self._run:
                continue  # the call names it twice
            if state == "ready" and self._finished(job, target, part, inode):
                self._done(place)
                state = "done"
            if state in ("done", "skipped"):
                self.before += 1
                continue
            if state == "failed" and not self.retry:
                self.before += 1
                self._earlier.append(Outcome(job.source, None, "failed", str(error)))
                continue
            if state in ("started", "ready"):
                remove_parts(job)
            self._execute(
                "INSERT INTO files (source, state, run) VALUES (?, 'started', ?) ON CONFLICT (source) "
                "DO UPDATE SET state = 'started', run = excluded.run, tries = tries + 1, error = NULL",
                *(place, self._run),
            )
            yield job

    def _finished(self, job: Job, target: bytes, part: bytes, inode: int) -> bool:
        """Whether a result that was ready when the process was killed has its name, or gets it now."""
        path = Path(os.fsdecode(target))
        beside = path.with_name(os.fsdecode(part))
        try:
            if beside.exists() and _inode(beside) == inode:
                publish(job, beside, path)
                return True
            return _inode(path) == inode
        except (OSError, InputError):
            return False

    def _done(self, place: bytes) -> None:
        self._execute("UPDATE files SET state = 'done', part = NULL, finished = ? WHERE source = ?", time.time(), place)

    def _note(self, outcome: Outcome) -> None:
        row = (outcome.status, outcome.error or None, time.time(), _key(outcome.source))
        self._execute("UPDATE files SET state = ?, error = ?, finished = ? WHERE source = ?", *row)

    def _same(self, settings: Mapping[str, Any]) -> None:
        entries = {"schema": str(SCHEMA), "settings": json.dumps(settings, sort_keys=True, default=str)}
        known = dict(self._execute("SELECT name, value FROM about"))
        other = [known.get(name) for name, value in entries.items() if known and known.get(name) != value]
        if other and self._execute("SELECT 1 FROM files WHERE state != 'failed' LIMIT 1"):
            before = json.loads(known.get("settings") or "{}")
            now = json.loads(entries["settings"])
            differing = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
            told = ", ".join(f"{name}: {before.get(name)!r} then, {now.get(name)!r} now" for name in differing)
            told = told or f"schema {known.get('schema')}"
            raise UsageError(
                f"{self.path}: the manifest of another call ({told}): give another file, or the same settings again"
            )
        if other:  # of a call that did nothing, for example with a mistyped folder
            self._execute("DELETE FROM files")
            self._execute("DELETE FROM about")
        for row in entries.items():
            self._execute("INSERT OR IGNORE INTO about VALUES (?, ?)", *row)

    def _execute(self, statement: str, *values: Any) -> list[Any]:
        with self._lock:
            try:
                return self._base.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise InputError(f"{self.path}: the manifest cannot be used ({error})") from error


def remove_parts(job: Job) -> None:
    """Removes what a killed process left of a job."""
    for target in {job.target, job.paged or job.target}:
        if isinstance(target, Url):
            continue  # stores show what is whole only
        for part in parts(target):
            part.unlink(missing_ok=True)


def _inode(path: Path) -> int:
    """The file's number, as far as SQLite can hold it: Windows and some file servers use more than 63 bits."""
    return path.stat().st_ino & (1 << 63) - 1


def _key(source: Location) -> bytes:
    """Names on disk are bytes, not always of a known encoding."""
    if isinstance(source, Url):
        return source.text.encode()
    return os.fsencode(os.path.abspath(source))  # noqa: PTH100 (Path.resolve would follow links)
