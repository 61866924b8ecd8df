"""The run of a batch in a child process, so that what kills it costs time and not the batch.

The kernel ends processes when memory runs out, and a decoder may crash on a hostile file. The parent, which holds no
picture, sees the child die, does the files that were in work one by one in children of their own, and asks for
smaller tiles when one of them dies again. Only the parent gives finished files their names.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from undegrade.core import errors
from undegrade.core.errors import InputError, UndegradeError, one_line
from undegrade.inference.manifest import remove_parts
from undegrade.inference.outcome import Outcome, Publish, Restores, failed, publish
from undegrade.inference.scan import Job

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext  # Windows has but the second

__all__ = ["published", "raised", "run"]

WINDOW = 3
"""Jobs that a child holds at a time: one being read, one in work, one being written."""
SHRINKS = 3
"""How often a job whose child was killed is tried with tiles of a quarter of the memory."""

KINDS = ("outcome", "progress", "info", "error")
"""First words of what a child says."""

Make = Callable[[], Restores]


def run(
    jobs: Iterable[Job],
    make: Make,
    *,
    progress: Callable[[int, float], None] | None = None,
    publish: Publish = publish,
    told: Callable[[dict[str, Any]], None] | None = None,
    **settings: Any,
) -> Iterator[Outcome]:
    """As ``batch.run``, in a child process.

    Args:
        jobs: as there.
        make: makes the restorer; called in the child, so it must be picklable, and the main module importable.
        progress: as there.
        publish: as there, called in this process.
        told: called with the restorer's ``info``.
        **settings: further arguments of ``batch.run``.

    Raises:
        UndegradeError: the restorer cannot be made.
    """
    numbered, sent = enumerate(jobs), dict[int, Job]()
    child: _Child | None = None
    more = True
    try:
        while True:
            while more and len(sent) < WINDOW:
                entry = next(numbered, None)
                if more := entry is not None:
                    sent.update([entry])
                    child = child or _Child(make, settings)
                if child:
                    child.send(entry)
            if child is None or not sent:
                break
            try:
                kind, *content = child.receive()
            except (EOFError, OSError):
                reason, several = child.reason(), len(sent) > 1
                child.end()
                child = None
                for number, job in list(sent.items()):
                    outcome = _alone(number, job, make, settings, reason, not several, publish, progress)
                    del sent[number]
                    yield outcome
                continue
            if kind == "outcome":
                number, outcome, part = content
                yield published(sent.pop(number), outcome, part, publish)
            elif hears := {"info": told, "progress": progress}[kind]:
                hears(*content)
    finally:
        if child:
            child.end()
        for job in sent.values():
            remove_parts(job)


def published(job: Job, outcome: Outcome, part: Path | None, publish: Publish) -> Outcome:
    """The outcome of another process, after the file in which it left the result has got its name."""
    if part is None or not isinstance(outcome.target, Path):
        return outcome
    try:
        publish(job, part, outcome.target)
    except (InputError, OSError) as error:  # the latter: somebody has removed the file
        part.unlink(missing_ok=True)
        return failed(job, error, outcome.seconds)
    return outcome


def _alone(
    number: int,
    job: Job,
    make: Make,
    settings: dict[str, Any],
    reason: str,
    guilty: bool,
    publish: Publish,
    progress: Callable[[int, float], None] | None,
) -> Outcome:
    """The outcome of a job that was in work when a child died: in a child of its own, again with smaller tiles."""
    shrink = int(guilty)  # others that were in work with it are most likely innocent
    while True:
        remove_parts(job)
        child = _Child(make, settings, shrink)
        try:
            child.send((number, job))
            child.send(None)
            while True:
                kind, *content = child.receive()
                if kind == "progress" and progress:
                    progress(*content)
                elif kind == "outcome":
                    _, outcome, part = content
                    outcome = published(job, outcome, part, publish)
                    smaller = " with smaller tiles" if shrink else ""
                    note = f"the process that restored it {reason}; done again{smaller}"
                    return replace(outcome, notes=(*outcome.notes, note))
        except (EOFError, OSError):
            reason = child.reason()
            if shrink == SHRINKS:
                remove_parts(job)
                return failed(job, InputError(f"{job.source}: the process that restores it {reason}, {shrink} times"))
            shrink += 1
        finally:
            child.end()


class _Child:
    """A process that makes a restorer and does the jobs that it is sent."""

    def __init__(self, make: Make, settings: dict[str, Any], shrink: int = 0) -> None:
        context = _context()
        self._pipe, theirs = context.Pipe()
        self._babbled = False
        self._process = context.Process(target=_work, args=(theirs, make, settings, shrink), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, message: object) -> None:
        """Sends, if there is anybody; ``receive`` tells what the child's last words were."""
        with suppress(OSError):
            self._pipe.send(message)

    def receive(self) -> Any:
        """The next message.

        Raises:
            EOFError, OSError: the child is dead, or ended here because nobody can read what it says.
            UndegradeError: the restorer could not be made.
        """
        try:
            message = self._pipe.recv()
            if message[0] not in KINDS:
                raise ValueError(message[0])
        except (EOFError, OSError):
            raise
        except Exception as error:  # unpickling raises nearly anything; of such a process nothing is to be trusted
            self._babbled = True
            self._process.kill()
            raise EOFError from error
        if message[0] == "error":
            raise raised(*message[1:])
        return message

    def reason(self) -> str:
        """Why the child has died, in words."""
        self._process.join()
        if self._babbled:
            return "said what cannot be read"
        code = self._process.exitcode or 0
        with suppress(ValueError):
            name = signal.Signals(-code).name
            return "was killed (SIGKILL: most likely the memory ran out)" if name == "SIGKILL" else f"crashed ({name})"
        return f"ended with status {code}"

    def end(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()


def _context() -> SpawnContext | ForkServerContext:
    """Where the system can: children are copies of a process that has imported torch, and so start at once."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["undegrade.inference.batch"])
    return context


def raised(kind: str, message: str) -> UndegradeError:
    """An error of another process, told by its class and words, as one of the same exit status."""
    found = getattr(errors, kind, UndegradeError)
    if issubclass(found, errors.UsageError):
        return errors.UsageError(message)
    return found(message) if found in (errors.WeightsError, InputError) else UndegradeError(message)


def _work(pipe: Connection, make: Make, settings: dict[str, Any], shrink: int) -> None:
    """The child: takes (number, job) until None, sends what becomes of them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C as well, and decides
    with suppress(OSError):
        # When memory runs out, the kernel takes this process and not its parent.
        Path("/proc/self/oom_score_adj").write_text("500")
    try:
        from undegrade.inference.batch import run as run_here

        restorer = make()
    except Exception as error:
        known = isinstance(error, UndegradeError)
        told = one_line(error) if known else "".join(traceback.format_exception_only(error))
        pipe.send(("error", type(error).__name__, told))
        return
    pipe.send(("info", restorer.info))
    taken, finished = dict[int, tuple[int, Job]](), dict[Job, Path]()

    def jobs() -> Iterator[Job]:
        with suppress(EOFError):  # the parent is dead: do what is begun, publish nothing
            for index in count():
                if (entry := pipe.recv()) is None:
                    return
                taken[index] = entry
                yield entry[1]

    def report(index: int, share: float) -> None:
        pipe.send(("progress", taken[index][0], share))

    def keep(job: Job, part: Path, target: Path) -> None:
        finished[job] = part

    smaller: Any = _Smaller(restorer, shrink) if shrink else restorer
    outcomes = run_here(jobs(), smaller, progress=report, publish=keep, **settings)
    try:
        for index, outcome in enumerate(outcomes):
            number, job = taken.pop(index)
            pipe.send(("outcome", number, replace(outcome, cause=None), finished.get(job)))
            finished.pop(job, None)
    except OSError:
        pass  # the parent is dead
    finally:
        cast("Generator[Outcome]", outcomes).close()  # waits for the file that is being written
        for part in finished.values():
            part.unlink(missing_ok=True)


class _Smaller:
    """A restorer whose tiles take a quarter of the memory, ``shrink`` times over."""

    def __init__(self, restorer: Any, shrink: int) -> None:
        from undegrade.inference.run import HOST_BUDGET, LEAST_TILE

        self._restorer = restorer
        options = getattr(restorer, "restorers", (restorer,))[0].options
        tile = max(LEAST_TILE, options.tile >> shrink) if isinstance(options.tile, int) else options.tile or "auto"
        self._options = {"tile": tile, "max_memory": int(options.max_memory or HOST_BUDGET) >> 2 * shrink}

    @property
    def scale(self) -> int:
        """As the restorer's."""
        return int(self._restorer.scale)

    def picture(self, picture: Any, **options: Any) -> Any:
        """As the restorer's."""
        return self._restorer.picture(picture, **self._options, **options)
