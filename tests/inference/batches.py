"""What the tests of batches share: small pictures, and stand-ins for a Restorer that child processes can make."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image

from undegrade.core.image import Picture


def picture(path: Path, level: int = 40, size: tuple[int, int] = (6, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, level, level)).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))
    return path


class Babble:
    """Is sent to other processes, where nobody can read it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


@dataclass
class Negative:
    """Gives the negative, and dies as a process on pictures of a certain height.

    Attributes:
        deadly: the height.
        signal: what it dies of.
        deaths: folder in which each death leaves a file; at ``tame`` MB of memory or less it does not die.
        babbling: the height of pictures of which it reports what other processes cannot read.
    """

    deadly: int = 0
    signal: int = signal.SIGKILL
    deaths: Path | None = None
    tame: int = 0
    babbling: int = 0

    info = {"task": "negative"}  # noqa: RUF012 (a stand-in for a property)
    scale = 1  # likewise
    options = SimpleNamespace(tile="auto", max_memory=None)

    def picture(self, picture: Picture, *, progress: Any = None, **options: Any) -> Picture:
        memory = options.get("max_memory", 1 << 40)
        if picture.size[0] == self.deadly and memory > self.tame << 20:
            if self.deaths:
                (self.deaths / f"{memory}").touch()
            os.kill(os.getpid(), self.signal)
        if progress:
            progress(1, 1)
        report = {"found": Babble()} if picture.size[0] == self.babbling else {}
        return replace(picture.with_pixels(1 - picture.pixels), report=report)
