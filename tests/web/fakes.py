"""Workers that behave badly on demand, and a small real server for tests. Imported by the child processes too."""

from __future__ import annotations

import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from undegrade.web.worker import READY, Answer, Order


def order(tmp_path: Path, what: str, **load: Any) -> Order:
    return Order(tmp_path / what, tmp_path, {"task": what, **load}, False, 1000)


def deaf(connection: Connection, device: str) -> None:
    """Says that it is ready, then hears nothing."""
    connection.send(READY)
    time.sleep(1000)


def fake(connection: Connection, device: str) -> None:
    """Does what the order's task says."""
    try:
        connection.send(READY)
        while (given := connection.recv()) is not None:
            if not isinstance(given, Order):
                continue
            match given.load["task"]:
                case "done":
                    connection.send(0.5)
                    connection.send(Answer("done", path=given.source))
                case "refuse":
                    connection.send(Answer("refused", f"{given.source}: the file is damaged"))
                case "babble":
                    connection.send_bytes(b"no pickle")
                    time.sleep(1000)
                case "crash":
                    os._exit(7)
                case "hang":
                    time.sleep(1000)
                case "tiles":
                    while not connection.poll(0.01):
                        connection.send(0.25)
                    connection.recv()
                    connection.send(Answer("stopped", "cancelled"))
    except EOFError:
        return
