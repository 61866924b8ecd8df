"""How much of everything a server accepts."""

from __future__ import annotations

from dataclasses import dataclass

from undegrade.core.errors import UsageError

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Caps that keep one visitor from taking the machine away from the others.

    Attributes:
        upload: bytes of one picture's file.
        request: bytes of one request; the batch tab sends several files in one.
        in_flight: bytes of all requests that are being received; what waits in the queue counts no longer.
        kept: bytes of pictures and results that lie on disk for the page.
        pixels: of one picture, all its frames together.
        queue: pictures that wait; one more is answered 503.
        workers: processes that restore, each one picture at a time.
        seconds: after which a restoration is given up.
        batch: pictures of one batch on the page.
        idle: seconds without a byte after which a sending or reading client is given up.
        rate: bytes per second below which a client is too slow, after ``idle`` seconds.
        connections: open at the same time.
        keep: seconds for which the page's files are kept.
    """

    upload: int = 64 << 20
    request: int = 512 << 20
    in_flight: int = 1 << 30
    kept: int = 4 << 30
    pixels: int = 50_000_000
    queue: int = 64
    workers: int = 1
    seconds: float = 600
    batch: int = 100
    idle: float = 20
    rate: int = 20_000
    connections: int = 1000
    keep: int = 3600

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise UsageError(f"{name}={value}: must be larger than 0")
