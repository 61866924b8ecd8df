"""A file that one process at a time holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

__all__ = ["hold"]


def hold(file: Path) -> Callable[[], None]:
    """Makes ``file`` and locks it; what comes back lets go of it.

    The system lets go too when the process ends, however it ends. That the file is there means nothing.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it cannot be made or locked, or is a file of something else.
    """
    try:
        # SQLite locks files on every system.
        held = sqlite3.connect(file, timeout=0, isolation_level=None)
        try:
            held.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError:
            held.close()
            raise
    except sqlite3.DatabaseError as error:
        busy = error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
        raise (BlockingIOError if busy else OSError)(str(error)) from error
    return held.close
