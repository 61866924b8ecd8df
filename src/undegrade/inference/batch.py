"""Many files: a run that no bad file stops, in which reading, restoring and writing overlap.

One thread reads the next file and one writes the last result while the network works on the current picture. At any
time there are at most three pictures in memory, of which the two waiting ones take their file's own depth.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from undegrade.core import decode
from undegrade.core import image as images
from undegrade.core.encode import check_fits, encode, format_of, left_out, write_beside
from undegrade.core.errors import InputError
from undegrade.core.formats import Frame
from undegrade.core.image import MAX_PIXELS, Picture
from undegrade.core.urls import Location, Url
from undegrade.inference.outcome import Outcome, Publish, Restores, failed, publish
from undegrade.inference.scan import PAGED, Job, plan, scan

__all__ = ["Job", "Outcome", "plan", "run", "scan"]

Progress = Callable[[int, float], None]


def run(
    jobs: Iterable[Job],
    restorer: Restores,
    *,
    skip_existing: bool = False,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
    publish: Publish = publish,
    sync: bool = False,
) -> Iterator[Outcome]:
    """Does the jobs one after the other and tells of each; a job that fails does not concern the others.

    Closed or interrupted, it finishes the file that is being written and discards the picture in work. A
    KeyboardInterrupt is raised again after the outcomes of what was finished.

    Args:
        jobs: from ``plan`` or ``scan``; taken as they are needed, two ahead.
        restorer: what is done to every picture.
        skip_existing: leave a job out when its target is there.
        max_pixels: larger files are refused.
        progress: called with the number of the job and the share of its current picture that is done. What it raises
            ends the run, as a KeyboardInterrupt does.
        publish: gives a finished file its name; called from another thread.
        sync: write through to the disk before that.
    """
    waiting: deque[_Begun] = deque()
    written: deque[Future[Outcome]] = deque()
    numbered = enumerate(jobs)
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:

        def begin() -> None:
            for number, job in numbered:
                waiting.append(_Begun(number, job, reader.submit(_open, job, skip_existing, max_pixels)))
                return

        try:
            begin()
            while waiting:
                begun = waiting.popleft()
                begin()
                result = _restored(begun, restorer, skip_existing, progress)
                while written:
                    yield written.popleft().result()
                if isinstance(result, Outcome):
                    yield result
                else:
                    written.append(writer.submit(_write, result, publish, sync))
                    del result  # or the picture would stay in memory while the next one is in work
            while written:
                yield written.popleft().result()
        except (KeyboardInterrupt, _ProgressError) as stop:
            yield from [future.result() for future in written if future.exception() is None]
            if isinstance(stop, _ProgressError):
                raise stop.error from None
            raise
        finally:
            for begun in waiting:
                begun.opened.cancel()


class _ProgressError(BaseException):
    """What ``progress`` raised. Not an Exception: those are taken for faults of the picture."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True)
class _Opened:
    """A file whose first picture has been decoded; ``frames`` hands each picture over and keeps none."""

    count: int
    frames: Iterator[Frame]
    seconds: float


@dataclass(frozen=True)
class _Begun:
    """A job whose file is being read."""

    number: int
    job: Job
    opened: Future[_Opened | Outcome]


@dataclass(frozen=True)
class _Finished:
    """A job whose result waits for being written."""

    job: Job
    target: Location
    frames: list[Frame]
    seconds: float


def _open(job: Job, skip_existing: bool, max_pixels: int) -> _Opened | Outcome:
    start = time.perf_counter()
    if job.problem:
        raise InputError(job.problem)
    if skip_existing and job.target.exists():
        return Outcome(job.source, job.target, "skipped")
    source: Path | bytes
    if isinstance(job.source, Url):
        decode.check_size(job.source.size(), max_pixels)
        source = job.source.read_bytes()
    else:
        source = job.source
    count, frames = decode.decode(source, max_pixels=max_pixels)
    return _Opened(count, frames, time.perf_counter() - start)


def _restored(begun: _Begun, restorer: Restores, skip_existing: bool, progress: Progress | None) -> _Finished | Outcome:
    job, start = begun.job, time.perf_counter()
    spent = 0.0
    try:
        opened = begun.opened.result()
        if isinstance(opened, Outcome):
            return opened
        spent, start = opened.seconds, time.perf_counter()
        target = _final(job, opened.count)
        if skip_existing and target.exists():
            return Outcome(job.source, target, "skipped")
        told = partial(_tell, progress, begun.number)
        done: list[Frame] = []
        for frame in opened.frames:
            if not done:
                # Tell what cannot be written before hours are spent on it.
                _prepare(job, target, frame, opened.count, restorer.scale)
            picture = images.from_frame(frame)
            del frame
            done.append(_rounded(picture, partial(restorer.picture, progress=told)))
            del picture
    except Exception as error:  # whatever is wrong with this file, the next one may be fine
        return failed(job, error, spent + time.perf_counter() - start)
    return _Finished(job, target, done, spent + time.perf_counter() - start)


def _rounded(picture: Picture, restore: Callable[[Picture], Picture]) -> Frame:
    """The result in the file's depth: a quarter of the memory while it waits."""
    return images.to_frame(restore(picture))


def _tell(progress: Progress | None, number: int, done: int, tiles: int) -> None:
    if progress is not None:
        try:
            progress(number, done / tiles)
        except Exception as error:
            raise _ProgressError(error) from None


def _prepare(job: Job, target: Location, frame: Frame, count: int, scale: int) -> None:
    height, width, channels = frame.samples.shape
    longest = scale * max(height, width)
    check_fits(str(target), frame.samples.dtype == "uint16", channels in (2, 4), count, longest)
    if isinstance(target, Url):
        return
    if isinstance(job.root, Path) and not target.parent.resolve().is_relative_to(job.root.resolve()):
        raise InputError(f"{target}: a link leads out of the output folder {job.root}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{target.parent}: the folder cannot be made ({error.strerror or error})") from error


def _final(job: Job, frames: int) -> Location:
    """The target; a TIFF file of several pages stays one, because pages may differ in size."""
    if frames == 1 or job.named or job.source.suffix.lower() not in PAGED:
        return job.target
    if job.paged is None:
        raise InputError(f"{job.source}: its output {job.target.with_suffix('.tif')} would replace an input")
    return job.paged


def _write(finished: _Finished, publish: Publish, sync: bool) -> Outcome:
    job, target, frames, start = finished.job, finished.target, finished.frames, time.perf_counter()
    part = None
    try:
        if isinstance(target, Url):
            target.write_bytes(encode(frames, format_of(str(target))))
        else:
            part = write_beside(frames, target, sync=sync)
            publish(job, part, target)
    except Exception as error:
        if part is not None:
            part.unlink(missing_ok=True)
        return failed(job, error, finished.seconds + time.perf_counter() - start)
    height, width = frames[0].samples.shape[:2]
    reports = tuple(frame.report for frame in frames if frame.report)
    notes = tuple(dict.fromkeys(note for frame in frames for note in frame.notes))
    notes += left_out(frames, format_of(str(target)))
    outcome = Outcome(job.source, target, "done", "", notes, len(frames), (height, width), reports=reports)
    return replace(outcome, seconds=finished.seconds + time.perf_counter() - start)
