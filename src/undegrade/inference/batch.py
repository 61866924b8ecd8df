"""Many files, one after the other: which output belongs to which input, and a run that no bad file stops."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from undegrade.core import image as images
from undegrade.core.encode import check_fits, format_of, write
from undegrade.core.errors import InputError, UndegradeError, UsageError
from undegrade.core.formats import FORMATS, SUFFIXES, Frame
from undegrade.core.image import MAX_PIXELS, Picture

if TYPE_CHECKING:
    from undegrade.inference.chain import Chain
    from undegrade.inference.restorer import Restorer

__all__ = ["Job", "Outcome", "plan", "run"]

MARK = ".restored"
"""Stands between name and suffix of what is written beside its input."""
PAGED = (".tif", ".tiff")
WRITTEN = frozenset(suffix for held in FORMATS.values() for suffix in held.suffixes)


@dataclass(frozen=True)
class Job:
    """One file to restore.

    Attributes:
        source: the input.
        target: the output; its suffix is the format.
        problem: why it cannot be done, known before anything is read; empty otherwise.
        named: the user chose the target's name, suffix included.
    """

    source: Path
    target: Path
    problem: str = ""
    named: bool = False


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
    inputs: Sequence[str | Path],
    output: str | Path | None = None,
    *,
    recursive: bool = False,
    keep_format: bool = False,
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
        source = Path(inputs[0])
        problem = "" if source.exists() else f"{source}: there is no such file"
        jobs = [Job(source, place, problem, named=True)]
    else:
        if place is not None and place.suffix.lower() in Image.registered_extensions() and not place.is_dir():
            format_of(place)  # a picture of a kind that is not written: raises
        found = [entry for name in inputs for entry in _files(Path(name), recursive, place)]
        jobs = _apart([_job(source, below, problem, place, keep_format) for source, below, problem in found])
    _refuse_overwriting(jobs)
    return jobs


def run(
    jobs: Sequence[Job],
    restorer: Restorer | Chain,
    *,
    skip_existing: bool = False,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[int, float], None] | None = None,
) -> Iterator[Outcome]:
    """Does the jobs one after the other and tells of each; a job that fails does not concern the others.

    Args:
        jobs: from ``plan``.
        restorer: what is done to every picture.
        skip_existing: leave a job out when its target is there.
        max_pixels: larger files are refused.
        progress: called with the number of the job and the share of its current picture that is done.
    """
    sources = {_place(job.source) for job in jobs}
    for number, job in enumerate(jobs):
        start = time.perf_counter()
        told = partial(_tell, progress, number)
        try:
            outcome = _restored(job, partial(restorer.picture, progress=told), sources, skip_existing, max_pixels)
        except Exception as error:  # whatever is wrong with this file, the next one may be fine
            line = " ".join(str(error).split()) or type(error).__name__
            if not isinstance(error, UndegradeError | OSError):
                line = f"internal error, {type(error).__name__}: {line}"
            line = line if str(job.source) in line else f"{job.source}: {line}"
            outcome = Outcome(job.source, None, "failed", line, cause=error)
        yield replace(outcome, seconds=time.perf_counter() - start)


def _tell(progress: Callable[[int, float], None] | None, number: int, done: int, tiles: int) -> None:
    if progress is not None:
        progress(number, done / tiles)


def _restored(
    job: Job, restore: Callable[[Picture], Picture], sources: set[object], skip_existing: bool, max_pixels: int
) -> Outcome:
    if job.problem:
        raise InputError(job.problem)
    if skip_existing and job.target.exists():
        return Outcome(job.source, job.target, "skipped")
    target, done = job.target, list[Frame]()
    for picture in images.frames(job.source, max_pixels=max_pixels):
        if not done:
            target = _final(job, picture.metadata.frames, sources)
            if skip_existing and target.exists():
                return Outcome(job.source, target, "skipped")
            # Tell what cannot be written before hours are spent on it.
            check_fits(target, picture.dtype == "uint16", picture.alpha is not None, picture.metadata.frames)
            target.parent.mkdir(parents=True, exist_ok=True)
        done.append(images.to_frame(restore(picture)))  # rounded: a quarter of the memory while others wait
    write(done, target)
    height, width = done[0].samples.shape[:2]
    return Outcome(job.source, target, "done", "", done[0].notes, len(done), (height, width))


def _final(job: Job, frames: int, sources: set[object]) -> Path:
    """The target; a TIFF file of several pages stays one, because pages may differ in size."""
    if frames == 1 or job.named or job.source.suffix.lower() not in PAGED:
        return job.target
    target = job.target.with_suffix(".tif")
    if _place(target) in sources:
        raise InputError(f"{job.source}: its output {target} would replace an input")
    return target


def _files(path: Path, recursive: bool, output: Path | None) -> Iterator[tuple[Path, Path, str]]:
    """The pictures that an input stands for: (file, its path below the input, what is wrong with it)."""
    if not path.is_dir():
        yield path, Path(path.name), "" if path.exists() else f"{path}: there is no such file"
        return
    problems: list[OSError] = []
    own, found = None if output is None else _place(output), 0
    for folder, folders, names in os.walk(path, onerror=problems.append):
        # What an earlier run wrote is no input of this one.
        folders[:] = sorted(sub for sub in folders if _place(Path(folder, sub)) != own) if recursive else []
        for name in sorted(names):
            marked = output is None and Path(name).stem.endswith(MARK)
            if Path(name).suffix.lower() in SUFFIXES and not marked and not name.startswith("."):
                found += 1
                yield Path(folder, name), Path(folder, name).relative_to(path), ""
    for problem in problems:
        place = Path(str(problem.filename))
        yield place, Path(place.name), f"{place}: the folder cannot be read ({problem.strerror})"
    if not found and not problems:
        hint = "" if recursive else " (--recursive looks into the folders within)"
        yield path, Path(path.name), f"{path}: the folder holds no pictures{hint}"


def _job(source: Path, below: Path, problem: str, place: Path | None, keep_format: bool) -> Job:
    suffix = ".png"
    if keep_format:
        suffix = below.suffix if below.suffix.lower() in WRITTEN else suffix
        if below.suffix.lower() == ".gif":
            problem = problem or f"{source}: GIF holds 256 colours and is not written: leave out --keep-format"
    if place is None:
        return Job(source, source.with_name(f"{below.stem}{MARK}{suffix}"), problem)
    return Job(source, place / below.with_suffix(suffix), problem)


def _apart(jobs: list[Job]) -> list[Job]:
    """Every job with a target of its own: full input names where stems are shared, numbers where those are too."""
    shared = Counter(job.target for job in jobs if not job.problem)
    taken = {target for target, count in shared.items() if count == 1}
    renamed = []
    for job in jobs:
        target = job.target
        if not job.problem and shared[target] > 1:
            mark = MARK if target.stem.endswith(MARK) else ""
            name, number = f"{job.source.name}{mark}", 1
            target = target.with_name(f"{name}{target.suffix}")
            while target in taken:
                number += 1
                target = target.with_name(f"{name}.{number}{target.suffix}")
            taken.add(target)
        renamed.append(replace(job, target=target))
    return renamed


def _refuse_overwriting(jobs: list[Job]) -> None:
    sources = {_place(job.source) for job in jobs}
    for job in jobs:
        if not job.problem and _place(job.target) in sources:
            raise UsageError(f"{job.target}: the output would replace an input: choose another -o")


def _place(path: Path) -> object:
    """The same for all names of one file, links included."""
    try:
        found = path.stat()
    except OSError:
        return path.absolute()
    return found.st_dev, found.st_ino
