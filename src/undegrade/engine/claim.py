"""A run's folder belongs to one training at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from undegrade.core.errors import UsageError

__all__ = ["claimed"]

NAME = ".lock"


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Makes ``folder`` and keeps other processes out of this block with it.

    The system holds the lock and lets go of it when the process ends, however it ends; the file itself tells nothing.
    A folder that the block leaves empty goes again.

    Raises:
        UsageError: another process is in such a block.
        OSError: the folder cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NAME).open("ab") as file:
        try:
            _lock(file)
        except (BlockingIOError, PermissionError) as error:  # which of them depends on the system
            raise UsageError(
                f"{folder}: another training is at work there: wait for it, or give this one another name (name=...)"
            ) from error
        except OSError:
            pass  # a file system that knows no locks
        try:
            yield
        finally:
            file.close()
            with suppress(OSError):  # somebody may have begun there this very moment, or have removed it
                if [entry.name for entry in folder.iterdir()] == [NAME]:
                    (folder / NAME).unlink()
                    folder.rmdir()


def _lock(file: BinaryIO) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        # Unlike flock, not kept by workers that outlive a killed process for some seconds.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
