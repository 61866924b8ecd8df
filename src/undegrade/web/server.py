"""Page, API and guard behind one port."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NoReturn

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from undegrade.core import device as devices
from undegrade.core.errors import UsageError, one_line
from undegrade.core.hosts import LOOPBACK
from undegrade.web.desk import Desk
from undegrade.web.guard import Guard
from undegrade.web.http import make_api
from undegrade.web.limits import Limits

__all__ = ["make_app", "serve"]

CLEAR = 600
"""Ticks of a server, ten a second, between two looks for files that are too old."""


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
        UsageError: the port is taken, the host is not this machine's, or it has no such device.
    """
    limits = Limits(**caps)
    _check(device)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # else every broken form is a line in our log
    listening = _listening(host, port)
    names = (*hosts, host, *([] if host in LOOPBACK else [socket.gethostname()]))
    with _ended_by_signals(), _folder() as folder, _desk(limits, device) as desk:
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
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listening.getsockname()[1]}"
        server = _Server(config, lambda: ready(address), clear=app.kept, end=desk.close)
        server.run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens there, and that no other program can share."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    # What lets a server start again at once on POSIX lets anybody take over its port on Windows.
    option = "SO_EXCLUSIVEADDRUSE" if hasattr(socket, "SO_EXCLUSIVEADDRUSE") else "SO_REUSEADDR"
    listening.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)
    try:
        listening.bind((host, port))
        listening.listen()  # until then, another server may take the same port
    except (OSError, OverflowError, UnicodeError) as error:  # the last two: no such port, and a name that can be none
        listening.close()
        line = getattr(error, "strerror", None) or one_line(error)
        raise UsageError(f"{host}:{port}: cannot listen there ({line}): choose another --port or --host") from error
    return listening


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
    kept = _Kept(folder / "page", limits.keep)
    return Guard(app, limits, hosts=hosts, pages=pages, token=token, kept=kept, folder=folder / "page")


class _Server(uvicorn.Server):
    """Says when it listens; clears up every minute, also when nobody comes any more; answers everybody at the end."""

    def __init__(
        self,
        config: uvicorn.Config,
        ready: Callable[[], None],
        *,
        clear: Callable[[], object],
        end: Callable[[], object],
    ) -> None:
        super().__init__(config)
        self.ready, self.clear, self.end = ready, clear, end

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()

    async def on_tick(self, counter: int) -> bool:
        if counter % CLEAR == 0:
            await asyncio.to_thread(self.clear)
        return bool(await super().on_tick(counter))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.to_thread(self.end)  # before those who wait are cut off without a word
        await super().shutdown(sockets)


def _patient(seconds: float) -> type[H11Protocol]:
    """uvicorn's protocol, which by itself waits for ever for a request that has begun, and for a first one."""

    class Patient(H11Protocol):
        _silence: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._wait()

        def _between(self) -> bool:
            """Whether no request is known: none has come whole since the last answer."""
            return self.cycle is None or self.cycle.response_complete

        def _wait(self) -> None:
            if self._between() and self._silence is None:
                self._silence = self.loop.call_later(seconds, self._hang_up)
            elif not self._between() and self._silence is not None:
                self._silence.cancel()
                self._silence = None

        def _hang_up(self) -> None:
            self._silence = None
            if self._between() and not self.transport.is_closing():
                self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._silence is not None:
                self._silence.cancel()
            super().connection_lost(exc)

    return Patient


class _Kept:
    """Bytes below a folder, counted at most every few seconds; old files and empty folders go at the same time."""

    def __init__(self, folder: Path, keep: float, every: float = 5) -> None:
        self.folder, self.keep, self.every = folder, keep, every
        self.size, self.counted = 0, float("-inf")

    def __call__(self) -> int:
        if time.monotonic() - self.counted > self.every:
            self.counted = time.monotonic()
            files = (Path(folder, name) for folder, _, names in os.walk(self.folder) for name in names)
            self.size = sum(map(self._size, files))
            for folder, *_ in os.walk(self.folder, topdown=False):
                self._leave(Path(folder))
        return self.size

    def _leave(self, folder: Path) -> None:
        """Removes a folder in which nothing has come or gone for long."""
        with suppress(OSError):  # not empty, or gone meanwhile
            if folder != self.folder and time.time() - folder.stat().st_mtime > self.keep:
                folder.rmdir()

    def _size(self, path: Path) -> int:
        """Bytes of a file; 0 for one that was too old, which is then gone."""
        try:
            state = path.stat()
            if not path.is_file():
                return 0
        except FileNotFoundError:  # gone meanwhile
            return 0
        if time.time() - state.st_mtime <= self.keep:
            return state.st_size
        try:
            path.unlink(missing_ok=True)
        except PermissionError:  # Windows removes no file that somebody reads: at the next look
            return state.st_size
        return 0


def _check(device: str) -> None:
    """Raises a UsageError for a device that is not here: else every visitor would be told."""
    if device not in ("auto", "cpu"):
        with ProcessPoolExecutor(1, get_context("spawn")) as other:  # here, the driver would stay in memory
            other.submit(_pick, device).result()


def _pick(device: str) -> None:
    devices.pick(device)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """What ends processes unasked (service managers, a closed terminal) lets this one clear up before it goes."""
    named = {"SIGTERM": _end, "SIGHUP": _hang_up}
    found = {getattr(signal, name): handler for name, handler in named.items() if hasattr(signal, name)}
    main = threading.current_thread() is threading.main_thread()  # others may not set them
    ours = {number: handler for number, handler in found.items() if main and signal.getsignal(number) is signal.SIG_DFL}
    for number, handler in ours.items():
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, _: object) -> NoReturn:
    raise SystemExit(128 + number)


def _hang_up(_: int, __: object) -> None:
    signal.raise_signal(signal.SIGTERM)  # after which uvicorn goes in good order


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
