"""What became of a job, told in the same words by every way of running jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from undegrade.core.errors import InputError, UndegradeError, one_line
from undegrade.core.urls import Location
from undegrade.inference.scan import Job

if TYPE_CHECKING:
    from undegrade.core.image import Picture

__all__ = ["Outcome", "Publish", "Restores", "failed", "publish"]


class Restores(Protocol):
    """What a batch needs of a Restorer, a chain of them, or anything else that restores."""

    @property
    def info(self) -> dict[str, Any]:
        """What it is, as plain values."""
        ...

    @property
    def scale(self) -> int:
        """Output size over input size."""
        ...

    def picture(
        self, picture: Picture, *, progress: Callable[[int, int], None] | None = None, **options: Any
    ) -> Picture:
        """The restored picture; ``progress`` is called with (tiles done, tiles in all)."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        source: the input.
        target: the file that was written, or that was there already; None when the job failed.
        status: ``"done"``, ``"skipped"`` or ``"failed"``.
        error: one line, when it failed.
        notes: what was changed on the way in, one sentence each.
        frames: pictures in the file.
        size: height and width of the (first) result.
        seconds: time for reading, restoring and writing.
        reports: of every picture, what the restorer found out about it and did, if it tells.
        cause: the exception behind ``error``.
    """

    source: Location
    target: Location | None
    status: Literal["done", "skipped", "failed"]
    error: str = ""
    notes: tuple[str, ...] = ()
    frames: int = 0
    size: tuple[int, int] | None = None
    seconds: float = 0.0
    reports: tuple[Mapping[str, Any], ...] = ()
    cause: BaseException | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "input": str(self.source),
            "output": str(self.target) if self.target else None,
            "status": self.status,
            "error": self.error or None,
            "notes": list(self.notes),
            "reports": [dict(report) for report in self.reports],
            "frames": self.frames,
            "size": list(self.size) if self.size else None,
            "seconds": round(self.seconds, 4),
        }


Publish = Callable[[Job, Path, Path], None]
"""Called with a job, the hidden file that holds its complete result, and the name that this file is to take."""


def publish(_: Job, part: Path, target: Path) -> None:
    """The plain way: the file takes its name.

    Raises:
        InputError: it cannot.
    """
    try:
        part.replace(target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror or error})") from error


def failed(job: Job, error: BaseException, seconds: float = 0.0) -> Outcome:
    """The outcome of a job that ``error`` ended, in one line that names the input."""
    line = one_line(error)
    if not isinstance(error, UndegradeError | OSError):
        line = f"internal error, {type(error).__name__}: {line}"
    line = line if str(job.source) in line else f"{job.source}: {line}"
    return Outcome(job.source, None, "failed", line, cause=error, seconds=seconds)
