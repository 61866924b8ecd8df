"""A run's folder belongs to one training at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from undegrade.core.errors import UsageError
from undegrade.core.lock import hold

__all__ = ["claimed"]

NAME = ".lock"


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Makes ``folder`` and keeps other processes out of this block with it.

    A folder that the block leaves empty goes again.

    Raises:
        UsageError: another process is in such a block.
        OSError: the folder cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NAME).touch()
    try:
        let_go = hold(folder / NAME)
    except BlockingIOError as error:
        raise UsageError(
            f"{folder}: another training is at work there: wait for it, or give this one another name (name=...)"
        ) from error
    except OSError:  # a file system that knows no locks
        let_go = None
    try:
        yield
    finally:
        if let_go is not None:
            let_go()
        with suppress(OSError):  # somebody may have begun there this very moment, or have removed it
            if [entry.name for entry in folder.iterdir()] == [NAME]:
                (folder / NAME).unlink()
                folder.rmdir()
