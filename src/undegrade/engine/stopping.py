"""Ctrl-C in a training: the step under way is finished and saved first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Stop", "stopping"]


class Stop:
    """Whether to stop.

    Attributes:
        number: of the signal that asked for it; 0 as long as none has.
    """

    def __init__(self) -> None:
        self.number = 0


@contextmanager
def stopping(alone: bool) -> Iterator[Stop]:
    """Within the block the first SIGINT or SIGTERM only asks; after the block it does what it would have done.

    A second one ends the process at once. Signals that somebody else hears stay as they are, and all of them do where
    this process is not ``alone``: who stopped at another step than its fellows would leave them waiting.
    """
    stop = Stop()
    before: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    main = threading.current_thread() is threading.main_thread()  # others may not set them
    ours = [number for number, usual in before.items() if main and alone and signal.getsignal(number) == usual]

    def back() -> None:
        for number in ours:
            signal.signal(number, before[number])

    def ask(number: int, _: object) -> None:
        stop.number = number
        back()

    for number in ours:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        back()
    if stop.number:
        signal.raise_signal(stop.number)
