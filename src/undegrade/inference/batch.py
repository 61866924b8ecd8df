"""Many files, one after the other: which output belongs to which input, and a run that no bad file stops."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from undegrade.core import image as images
from undegrade.core.errors import InputError, UndegradeError, UsageError
from undegrade.core.formats import FORMATS, SUFFIXES
from undegrade.core.image import MAX_PIXELS, Picture

__all__ = ["Job", "Outcome", "Restores", "plan", "run"]

MARK = ".restored"
"""Stands between name and suffix of what is written beside its input."""
WRITTEN = frozenset(suffix for held in FORMATS.values() for suffix in held.suffixes)

Progress = Callable[[int, int], None]
"""Called with (tiles done, tiles in all)."""


class Restores(Protocol):
    """What a batch asks of a Restorer."""

    def picture(self, picture: Picture, *, progress: Progress | None = None, **options: Any) -> Picture:
        """The picture, restored."""
        ...


@dataclass(frozen=True)
class Job:
    """One file to restore.

    Attributes:
        source: the input.
        target: the output; its suffix is the format.
        problem: why it cannot be done, known before anything is read; empty otherwise.
    """

    source: Path
    target: Path
    problem: str = ""


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
        cause: the exception behind ``error``.
    """

    source: Path
    target: Path | None
    status: Literal["done", "skipped", "failed"]
    error: str = ""
    notes: tuple[str, ...] = ()
    frames: int = 0
    size: tuple[int, int] | None = None
    seconds: float = 0.0
    cause: BaseException | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "input": str(self.source),
            "output": str(self.target) if self.target else None,
            "status": self.status,
            "error": self.error or None,
            "notes": list(self.notes),
            "frames": self.frames,
            "size": list(self.size) if self.size else None,
            "seconds": round(self.seconds, 4),
        }


def plan(
    inputs: Sequence[str | Path], output: str | Path | None = None, *, recursive: bool = False, keep_format: bool = False
) -> list[Job]:
    """Which file is written for which input.

    Without ``output``, ``photo.restored.png`` is written beside ``photo.jpg``. With one input file, ``output`` may be
    a file name; otherwise it is a folder, in which the folders among the inputs are mirrored. Inputs that would be
    written to one place (``a.jpg`` and ``a.png``) are told apart by their full names.

    Args:
        inputs: files and folders.
        output: file or folder.
        recursive: folders within folders as well.
        keep_format: the suffix of the input instead of ``.png``.

    Raises:
        UsageError: an output would replace an input, or one file name is given for several inputs.
    """
    place = Path(output) if output is not None else None
    if place is not None and place.suffix.lower() in WRITTEN and not place.is_dir():
        if len(inputs) != 1 or Path(inputs[0]).is_dir():
            raise UsageError(f"{place}: one file name for several inputs: give a folder")
        jobs = [Job(Path(inputs[0]), place)]
    else:
        found = [entry for name in inputs for entry in _files(Path(name), recursive, skip_marked=place is None)]
        jobs = _apart([_job(source, below, problem, place, keep_format) for source, below, problem in found])
    _refuse_overwriting(jobs)
    return jobs


def run(
    jobs: Sequence[Job],
    restorers: Sequence[Restores],
    *,
    skip_existing: bool = False,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[int, float], None] | None = None,
    **options: Any,
) -> Iterator[Outcome]:
    """Does the jobs one after the other and tells of each; a job that fails does not concern the others.

    Args:
        jobs: from ``plan``.
        restorers: applied to every picture in this order, without rounding in between.
        skip_existing: leave a job out when its target is there.
        max_pixels: larger files are refused.
        progress: called with the number of the job and the share of it that is done.
        **options: of ``Restorer.picture``.
    """
    sources = {job.source.absolute() for job in jobs}
    for number, job in enumerate(jobs):
        start = time.perf_counter()
        told = _share(progress, number, len(restorers))
        try:
            if job.problem:
                raise InputError(job.problem)
            outcome = _restored(job, restorers, sources, skip_existing, max_pixels, told, options)
        except Exception as error:  # whatever is wrong with this file, the next one may be fine
            line = " ".join(str(error).split()) or type(error).__name__
            if not isinstance(error, UndegradeError | OSError):
                line = f"{type(error).__name__}: {line}"
            line = line if str(job.source) in line else f"{job.source}: {line}"
            outcome = Outcome(job.source, None, "failed", line, cause=error)
        yield replace(outcome, seconds=time.perf_counter() - start)


def _restored(
    job: Job,
    restorers: Sequence[Restores],
    sources: set[Path],
    skip_existing: bool,
    max_pixels: int,
    told: Callable[[int, Progress | None], Progress | None],
    options: dict[str, Any],
) -> Outcome:
    if skip_existing and job.target.exists():
        return Outcome(job.source, job.target, "skipped")
    job.target.parent.mkdir(parents=True, exist_ok=True)
    done: list[Picture] = []
    for picture in images.frames(job.source, max_pixels=max_pixels):
        result = picture
        for step, restorer in enumerate(restorers):
            result = restorer.picture(result, progress=told(step, None), **options)
        done.append(_compact(result))
    target = job.target
    if len(done) > 1 and done[0].metadata.format == "TIFF" and target.suffix == ".png":
        target = target.with_suffix(".tif")  # pages may differ in size, which no other format allows
        if target.absolute() in sources:
            raise InputError(f"{target}: the output would replace an input")
        if skip_existing and target.exists():
            return Outcome(job.source, target, "skipped")
    images.save(done, target)
    return Outcome(job.source, target, "done", notes=done[0].notes, frames=len(done), size=done[0].size)
