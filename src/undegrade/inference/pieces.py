"""The finished part of a video, kept beside the target until all of it is done."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from undegrade.core.errors import InputError
from undegrade.core.lock import hold
from undegrade.core.names import shortened

__all__ = ["Pieces"]

LOCK = "lock"


class Pieces:
    """The finished part of the work, in a folder beside the target: ``00000.mp4``, its time stamps in ``00000.json``.

    One process at a time holds the folder.

    Args:
        target: of the whole video.
        identity: what must be equal for the work to go on; else it begins anew.

    Raises:
        InputError: another process is at work there.

    Attributes:
        stamps: of the frames of every piece, in the source's time base.
    """

    def __init__(self, target: Path, identity: str) -> None:
        folder = target.with_name(shortened(f".{target.name}.parts"))
        self.folder, self.stamps = folder, list[list[int]]()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._let_go = hold(folder / LOCK)
        except BlockingIOError as error:
            raise InputError(f"{target}: another run is at work on it: wait for it, or give another -o") from error
        except OSError as error:
            with suppress(OSError):  # is kept where there is work of an earlier run in it
                (folder / LOCK).unlink(missing_ok=True)
                folder.rmdir()
            raise InputError(f"{target}: nothing can be written beside it ({error}): is the disk full?") from error
        with ExitStack() as stack:
            stack.callback(self._let_go)
            self._take_over(identity)
            stack.pop_all()  # nothing was raised: it stays locked

    def _take_over(self, identity: str) -> None:
        """Keeps what an earlier run has left of the same work; of any other nothing."""
        note, job = self.folder / "job", identity.encode()
        if not note.exists() or note.read_bytes() != job:
            for old in self.folder.iterdir():
                if old.name != LOCK:
                    old.unlink()
        note.write_bytes(job)
        # What a power cut damaged is done again.
        with suppress(OSError, ValueError):
            while True:
                number = len(self.stamps)
                stamps = json.loads(self.path(number, ".json").read_text(encoding="utf-8"))
                if not self.path(number, ".mp4").stat().st_size:
                    break
                self.stamps.append(stamps)

    @property
    def frames(self) -> int:
        """Frames that are done."""
        return sum(map(len, self.stamps))

    def leave(self, *, done: bool) -> None:
        """Lets others at the folder; removes it if the work is done, or none is in it."""
        self._let_go()
        if done or not self.stamps:
            shutil.rmtree(self.folder)

    def path(self, number: int, suffix: str) -> Path:
        """Of a piece's file."""
        return self.folder / f"{number:05d}{suffix}"

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """The file of the next piece; it counts when the block, which adds its stamps, ends well."""
        number = len(self.stamps)
        yield self.path(number, ".mp4")
        part = self.path(number, ".part")
        part.write_text(json.dumps(self.stamps[number]), encoding="utf-8")
        for written in (self.path(number, ".mp4"), part):  # renaming alone does not promise that the disk has them
            with written.open("r+b") as file:
                os.fsync(file.fileno())
        part.replace(self.path(number, ".json"))
