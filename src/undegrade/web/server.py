"""Page, API and guard behind one port."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from undegrade.core.errors import UsageError
from undegrade.web.desk import Desk
from undegrade.web.guard import Guard
from undegrade.web.http import make_api
from undegrade.web.limits import Limits

__all__ = ["make_app", "serve"]

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(
    host: str,
    port: int,
    *,
    device: str = "auto",
    token: str | None = None,
    hosts: tuple[str, ...] = (),
    ready: Callable[[str], None] = lambda address: None,
    **caps: Any,
) -> None:
    """Serves until Ctrl-C.

    Args:
        host, port: where to listen; port 0 takes a free one.
        device: where to compute.
        token: asked of every request.
        hosts: names of this machine under which it may be called.
        ready: called with the address once it can be called.
        **caps: see ``Limits``.

    Raises:
        UsageError: the port is taken, or the host is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    limits = Limits(**caps)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # else every broken form is a line in our log
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise UsageError(f"{host}:{port}: cannot listen there ({error.strerror}): choose another --port") from error
    names = (*hosts, host, *([] if host in LOOPBACK else [socket.gethostname()]))
    with _folder() as folder, _desk(limits, device) as desk:
        app = make_app(desk, limits, folder, token=token, hosts=names)
        config = uvicorn.Config(
            app,
            http=_patient(limits.idle),
            ws="none",
            log_level="warning",
            server_header=False,
            timeout_keep_alive=int(limits.idle),
            limit_concurrency=limits.connections,
            timeout_graceful_shutdown=3,
        )
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        server = _Server(config, lambda: ready(f"http://{shown}:{listening.getsockname()[1]}"))
        server.run(sockets=[listening])


def make_app(
    desk: Desk,
    limits: Limits,
    folder: Path,
    *,
    token: str | None = None,
    hosts: tuple[str, ...] = (),
    page: bool = True,
) -> Guard:
    """The guarded application.

    Args:
        desk: where pictures are restored.
        limits: caps.
        folder: for files; what the page keeps lies in ``folder/page``.
        token, hosts: see ``serve``.
        page: also the page for people, which needs gradio.
    """
    app: Any = make_api(desk, limits, folder)
    pages = ["/"]
    if page:
        from undegrade.web.page import add_page

        pages += add_page(app, desk, limits, folder / "page")
    return Guard(app, limits, hosts=hosts, pages=pages, token=token, kept=_Kept(folder / "page", limits.keep))


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()


def _patient(seconds: float) -> type[H11Protocol]:
    """uvicorn's protocol, which by itself waits for ever for a new connection's first request."""

    class Patient(H11Protocol):
        _silence: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._silence = self.loop.call_later(seconds, self._hang_up)

        def _hang_up(self) -> None:
            if self.cycle is None and not self.transport.is_closing():
                self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._silence is not None:
                self._silence.cancel()
            super().connection_lost(exc)

    return Patient


class _Kept:
    """Bytes below a folder, counted at most every few seconds; old files go at the same time."""

    def __init__(self, folder: Path, keep: float, every: float = 5) -> None:
        self.folder, self.keep, self.every = folder, keep, every
        self.size, self.counted = 0, float("-inf")

    def __call__(self) -> int:
        if time.monotonic() - self.counted > self.every:
            self.counted = time.monotonic()
            self.size = sum(self._size(path) for path in self.folder.rglob("*"))
        return self.size

    def _size(self, path: Path) -> int:
        try:
            state = path.stat()
            if not path.is_file():
                return 0
            if time.time() - state.st_mtime > self.keep:
                path.unlink()
                return 0
        except FileNotFoundError:  # gone meanwhile
            return 0
        return state.st_size


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="undegrade-"))
    (folder / "page").mkdir()
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "page")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _desk(limits: Limits, device: str) -> Iterator[Desk]:
    desk = Desk(limits, device)
    try:
        yield desk
    finally:
        desk.close()
