"""What ends a process unasked is heard like Ctrl-C: what is half written goes, and what is left is said."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

__all__ = ["INTERRUPTED", "Ended", "heard", "status_of"]

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


class Ended(KeyboardInterrupt):
    """A signal that ends processes has come.

    Attributes:
        number: which one.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def heard() -> Iterator[None]:
    """Within the block SIGTERM (schedulers, service managers) and SIGHUP (a closed terminal) raise ``Ended``, once.

    What the block does not hear itself ends the command, and so does Ctrl-C. A signal that is ignored, as under nohup,
    or has a handler already, stays as it is.
    """
    main = threading.current_thread() is threading.main_thread()  # others may not set them
    named = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    ours = [number for number in named if main and signal.getsignal(number) is signal.SIG_DFL]

    def end(number: int, _: object) -> NoReturn:
        for other in ours:  # both come when a terminal closes; the second must not disturb the clearing up
            signal.signal(other, signal.SIG_IGN)
        raise Ended(number)

    for number in ours:
        signal.signal(number, end)
    try:
        yield
    except KeyboardInterrupt as stop:  # before there was anything to tell of
        print("undegrade: stopped", file=sys.stderr)
        raise typer.Exit(status_of(stop)) from stop
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def status_of(stop: KeyboardInterrupt) -> int:
    """The exit status of a command that ``stop`` has ended, as shells have it."""
    return 128 + stop.number if isinstance(stop, Ended) else INTERRUPTED
