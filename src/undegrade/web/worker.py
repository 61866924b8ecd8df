"""The child process that restores: a picture that crashes a decoder or eats the memory does not end the server.

Orders come and answers go through a pipe as plain values; pictures stay in files.
"""

from __future__ import annotations

import signal
import sys
import traceback
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from undegrade.core.errors import UndegradeError, one_line

__all__ = ["READY", "Answer", "Order", "work"]

READY = "ready"
"""The first word of a worker."""

SHOWN_PIXELS = 16_000_000
"""Larger pictures are shown reduced on the page; the file for download is never touched."""
LOSSLESS_PIXELS = 4_000_000
"""Up to here the slider shows PNG, beyond it JPEG of quality 95, which browsers get and decode much faster."""


@dataclass(frozen=True)
class Order:
    """One picture to restore.

    Attributes:
        source: the input file.
        output: folder for the result.
        load: arguments of ``undegrade.load``.
        keep_format: format of the input instead of PNG.
        pixels: larger pictures are refused.
        shown: also write what the slider on the page shows.
    """

    source: Path
    output: Path
    load: dict[str, Any]
    keep_format: bool
    pixels: int
    shown: bool = False


@dataclass(frozen=True)
class Answer:
    """What became of an order.

    Attributes:
        status: ``"done"``; ``"refused"``: the picture or the wish is at fault; ``"broken"``: we are; ``"stopped"``;
            ``"late"``: the time limit passed.
        error: one line, unless done.
        path: the result.
        shown: (before, after) for the slider, of one size.
        notes: what was changed on the way in.
        reports: what ``auto`` found, for each frame.
        info: network and weights.
        size: height and width of the result.
        seconds: time for reading, restoring and writing.
    """

    status: Literal["done", "refused", "broken", "stopped", "late"]
    error: str = ""
    path: Path | None = None
    shown: tuple[Path, Path] | None = None
    notes: tuple[str, ...] = ()
    reports: tuple[Any, ...] = ()
    info: dict[str, Any] | None = None
    size: tuple[int, int] | None = None
    seconds: float = 0.0

    @property
    def weights(self) -> list[str]:
        """Names of the weights that worked on the picture; where ``auto`` chose, of those that it chose."""
        info, names = self.info or {}, list[str]()
        for one in info.get("chain", [info]):
            if one.get("task") == "auto":
                found = (report["auto"] for report in self.reports if "auto" in report)
                names += dict.fromkeys(str(step["weights"]) for auto in found for step in auto.get("done", []))
            elif one.get("weights"):
                names.append(str(one["weights"]))
        return names


class _StopError(BaseException):
    """The visitor changed his mind. Not an Exception: the batch takes those for faults of the picture."""


def work(connection: Connection, device: str) -> None:
    """Answers orders until the pipe is closed: with shares that are done, and an ``Answer`` as the last word."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's; it closes the pipe
    try:
        import_module("undegrade.core.image")  # torch with it: seconds that the first visitor need not wait
        connection.send(READY)
        while (order := connection.recv()) is not None:
            if isinstance(order, Order):  # anything else: a stop that came after its job was done
                connection.send(_answered(order, connection, device))
    except (EOFError, OSError):
        return


def _answered(order: Order, connection: Connection, device: str) -> Answer:
    try:
        return _restored(order, connection, device)
    except _StopError:
        return Answer("stopped", "cancelled")
    except UndegradeError as error:
        return Answer("refused", one_line(error))
    except (OSError, EOFError):
        raise
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        return Answer("broken", f"internal error, {type(error).__name__}")


def _restored(order: Order, connection: Connection, device: str) -> Answer:
    from undegrade import api

    def progress(_: int, share: float) -> None:
        if connection.poll():
            connection.recv()
            raise _StopError
        connection.send(float(share))

    restorer = _restorer(tuple(sorted(order.load.items())), device)
    jobs = api.plan_files([order.source], order.output, keep_format=order.keep_format)
    outcome = next(iter(api.restore_files(jobs, restorer, max_pixels=order.pixels, progress=progress)))
    if outcome.status != "done" or outcome.target is None:
        if isinstance(outcome.cause, UndegradeError):
            return Answer("refused", outcome.error)
        print(f"undegrade: {outcome.error}", file=sys.stderr)
        return Answer("broken", f"internal error, {type(outcome.cause).__name__}")
    target, shown, notes = Path(str(outcome.target)), None, outcome.notes
    if order.shown:
        try:
            shown = _shown(order, target)
        except OSError as error:  # the result is there all the same
            notes = (*notes, f"before and after cannot be shown ({error.strerror or one_line(error)})")
    return Answer(
        "done",
        path=target,
        shown=shown,
        notes=notes,
        reports=tuple(dict(report) for report in getattr(outcome, "reports", ())),
        info=restorer.info,
        size=outcome.size,
        seconds=outcome.seconds,
    )


@lru_cache(maxsize=4)
def _restorer(load: tuple[tuple[str, Any], ...], device: str) -> Any:
    from undegrade import api

    return api.load(**dict(load), device=device)


def _shown(order: Order, target: Path) -> tuple[Path, Path]:
    """What the slider shows: 8 bits, the first frame, both of the result's size."""
    from PIL import Image

    from undegrade.core import image as images

    names: list[Path] = []
    size: tuple[int, int] | None = None
    for role, path in (("after", target), ("before", order.source)):
        picture = next(iter(images.frames(path, max_pixels=16 * order.pixels)))
        samples = images.to_frame(picture).samples
        if samples.dtype != "uint8":
            samples = (samples >> 8).astype("uint8")
        view = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
        if size is None:
            shrink = min(1.0, (SHOWN_PIXELS / (view.width * view.height)) ** 0.5)
            size = max(1, round(view.width * shrink)), max(1, round(view.height * shrink))
        if view.size != size:
            view = view.resize(size, Image.Resampling.BICUBIC)
        if size[0] * size[1] <= LOSSLESS_PIXELS:
            names.append(order.output / f"{role}.png")
            view.save(names[-1], compress_level=1)
        else:
            names.append(order.output / f"{role}.jpg")
            view.convert("RGB").save(names[-1], quality=95, subsampling="4:4:4")
    return names[1], names[0]
