"""The bounded queue in front of the workers: who waits, who is served, how far it is, and when it is given up."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from undegrade.core.decode import WAY_OUT
from undegrade.core.errors import UndegradeError
from undegrade.web.limits import Limits
from undegrade.web.worker import READY, Answer, Order, work

__all__ = ["ITS_PICTURE", "BusyError", "Desk", "Job"]

GRACE = 2.0
"""Seconds that a cancelled worker gets to stop between two tiles before its process is ended."""
START = 120.0
"""Seconds for a worker process to start."""
TICK = 0.25
GOING = Answer("stopped", "the server is going down")
ITS_PICTURE = "the picture: "
"""How errors begin instead of with the place of the file; among many pictures, its own name stands there."""
NO_WORKER = Answer("broken", "no process can be started for the restoration: try again later")


class BusyError(UndegradeError):
    """The queue is full, or the server is going down."""


@dataclass
class Job:
    """A picture on its way.

    Attributes:
        order: what is to be done.
        future: becomes the ``Answer``; every job gets one.
        share: how much is done, 0..1.
        begun: time (monotonic) at which a worker took it; None while it waits.
    """

    order: Order
    future: Future[Answer] = field(default_factory=Future)
    share: float = 0.0
    begun: float | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)

    def answer(self, answer: Answer) -> None:
        """Settles the future, unless whoever waited for it has gone away."""
        with suppress(InvalidStateError):
            self.future.set_result(answer)

    def left(self) -> float | None:
        """Seconds until it is done, by the share that is; None while there is nothing to go by."""
        if self.begun is None or self.share <= 0:
            return None
        return (time.monotonic() - self.begun) * (1 - self.share) / self.share


class Desk:
    """Takes orders, hands them to worker processes one at a time, answers every one of them.

    Args:
        limits: ``queue``, ``workers``, ``seconds`` count here.
        device: where to compute.
        target: what the worker process runs; tests put their own there.
    """

    def __init__(self, limits: Limits, device: str = "auto", target: Callable[[Connection, str], None] = work) -> None:
        self.limits, self.device, self.target = limits, device, target
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._serving = 0
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(limits.workers)]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Pictures in the queue."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether the next order would be refused."""
        return self._closed or len(self._waiting) >= self.limits.queue

    def place(self, job: Job) -> int:
        """How many are before this job: those that wait and those that are being served; 0 when it is itself."""
        with self._changed:
            return self._waiting.index(job) + self._serving if job in self._waiting else 0

    def submit(self, order: Order) -> Job:
        """Queues an order.

        Raises:
            BusyError: the queue is full.
        """
        with self._changed:
            if self.full:
                raise BusyError(f"{len(self._waiting)} pictures wait already: try again in a moment")
            job = Job(order)
            self._waiting.append(job)
            self._changed.notify()
        return job

    def cancel(self, job: Job) -> None:
        """Gives a job up, wherever it is; its answer will be ``stopped`` unless it is done already."""
        job.cancelled.set()
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                job.answer(Answer("stopped", "cancelled"))

    def close(self) -> None:
        """Answers everybody who waits, ends the workers."""
        with self._changed:
            self._closed = True
            while self._waiting:
                self._waiting.popleft().answer(GOING)
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=GRACE + 5)

    def _serve(self) -> None:
        worker = self._started()
        try:
            while (job := self._next()) is not None:
                if worker is None or not worker.process.is_alive():
                    worker = self._started()
                job.begun = time.monotonic()
                if worker is None:
                    answer = NO_WORKER
                elif (said := self._follow(job, worker)) is not None:
                    answer = said
                else:  # the process is not to be trusted any more
                    answer, worker = worker.end(job, self.limits.seconds), None
                if self._closed and answer.status in ("stopped", "late"):
                    answer = GOING
                with self._changed:
                    self._serving -= 1
                job.answer(_without_places(answer, job.order))
        finally:
            if worker is not None:
                worker.close()

    def _started(self) -> _Worker | None:
        """A worker; None where the system gives no more processes, memory or pipes just now."""
        try:
            return _Worker(self.target, self.device)
        except OSError as error:
            print(f"undegrade: no worker process can be started ({error})", file=sys.stderr)
            return None

    def _next(self) -> Job | None:
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if not self._waiting:
                return None
            self._serving += 1
            return self._waiting.popleft()

    def _follow(self, job: Job, worker: _Worker) -> Answer | None:
        """The worker's answer; None when it crashed, or was to stop and did not."""
        deadline = time.monotonic() + (self.limits.seconds if worker.ready else START)
        asked_to_stop = False
        try:
            worker.pipe.send(job.order)
            while True:
                if worker.pipe.poll(TICK):
                    said = worker.pipe.recv()
                    if isinstance(said, Answer):
                        return said
                    if said == READY:
                        worker.ready, job.begun = True, time.monotonic()
                        if not asked_to_stop:
                            deadline = job.begun + self.limits.seconds
                    else:
                        job.share = said
                if (job.cancelled.is_set() or self._closed) and not asked_to_stop:
                    asked_to_stop = True
                    deadline = min(deadline, time.monotonic() + GRACE)
                    worker.pipe.send("stop")
                if time.monotonic() > deadline:
                    return None
        except (EOFError, OSError):
            worker.process.join(timeout=GRACE)  # it is going down: let it say how
            return None
        except Exception:  # what it says cannot be read: its memory is no longer what it was
            worker.process.kill()
            worker.process.join()
            return None


class _Worker:
    """A worker process and our end of its pipe."""

    def __init__(self, target: Callable[[Connection, str], None], device: str) -> None:
        context = multiprocessing.get_context("spawn")  # no threads, no open files, no locks of the server's
        self.pipe, theirs = context.Pipe()
        self.ready = False
        self.process: BaseProcess = context.Process(target=target, args=(theirs, device), daemon=True)
        self.process.start()
        theirs.close()

    def end(self, job: Job, seconds: float) -> Answer:
        """Ends the process and says why."""
        alive = self.process.is_alive()
        self.process.kill()
        self.process.join()
        self.pipe.close()
        if job.cancelled.is_set():
            return Answer("stopped", "cancelled")
        if alive:
            return Answer("late", f"given up after {seconds:g} s, the time limit of this server")
        return Answer("broken", f"the restoration broke down on this picture (code {self.process.exitcode})")

    def close(self) -> None:
        with suppress(OSError):
            self.pipe.send(None)
        self.pipe.close()
        self.process.join(timeout=GRACE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _without_places(answer: Answer, order: Order) -> Answer:
    """The answer without a word about where on the server the files lie, and about what only its owner can do."""
    if not answer.error:
        return answer
    line = answer.error.replace(WAY_OUT, "this server takes no larger ones")
    for path in (order.source, order.source.parent, order.output):
        line = line.replace(f"{path}: ", ITS_PICTURE).replace(str(path), Path(path).name)
    return replace(answer, error=line)
