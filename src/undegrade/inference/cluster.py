"""A batch on a Ray cluster: actors that load the weights once and take a few files at a time.

The driver holds the list of files, and only it gives finished files their names. So a worker may die at any moment,
and its files go to another one, without a file being lost, doubled, or seen half written. The files lie where all
machines see them: on a shared disk, or in an object store (``s3://...``), where a file is put at once or not at all.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from undegrade.core.errors import InputError, MissingExtraError
from undegrade.inference.isolate import published, raised
from undegrade.inference.manifest import remove_parts
from undegrade.inference.outcome import Outcome, Publish, Restores, failed, publish
from undegrade.inference.scan import Job

__all__ = ["run"]

CHUNK = 4
"""Files that an actor takes at a time, between which reading, restoring and writing overlap."""
TRIES = 3
"""How often a file may lose its worker before it is given up."""


def run(
    jobs: Iterable[Job],
    make: Callable[[], Restores],
    *,
    workers: int | None = None,
    progress: Callable[[int, float], None] | None = None,
    publish: Publish = publish,
    told: Callable[[dict[str, Any]], None] | None = None,
    **settings: Any,
) -> Iterator[Outcome]:
    """As ``batch.run``, on the Ray cluster of ``RAY_ADDRESS``, or on one that is started here.

    Args:
        jobs: as there. Outcomes come in the order in which they are finished.
        make: makes the restorer, in every actor once.
        workers: actors; default: one for each GPU of the cluster, without GPUs one for each of its CPUs.
        progress: not called; files are small steps here.
        publish: as there, called in this process.
        told: called with the restorer's ``info``.
        **settings: further arguments of ``batch.run``.

    Raises:
        MissingExtraError: Ray is not installed.
        UndegradeError: the restorer cannot be made.
    """
    ray = _ray()
    if started := not ray.is_initialized():
        ray.init(address=os.environ.get("RAY_ADDRESS"), log_to_driver=False, configure_logging=False)
    try:
        yield from _run(ray, _Crew(ray, make, settings, workers), iter(jobs), publish, told)
    finally:
        if started:
            ray.shutdown()


def _run(
    ray: Any, crew: _Crew, jobs: Iterator[Job], publish: Publish, told: Callable[[dict[str, Any]], None] | None
) -> Iterator[Outcome]:
    again, losses = deque[list[Job]](), Counter[Job]()
    try:
        while crew.feed(again, jobs):
            actor, chunk, ready = crew.next()
            try:
                info, outcomes = ray.get(ready)
            except ray.exceptions.RayActorError as error:
                crew.replace()
                for job in chunk:
                    remove_parts(job)
                    losses[job] += 1
                    if losses[job] < TRIES:
                        again.append([job])  # alone: if one of them kills its worker, the others are not concerned
                    else:
                        yield failed(job, InputError(f"{job.source}: {TRIES} workers died over it ({_line(error)})"))
                continue
            crew.free.append(actor)
            if isinstance(info, tuple):
                raise raised(*info)
            if told:
                told(info)
            for job, (outcome, part) in zip(chunk, outcomes, strict=True):
                yield published(job, outcome, part, publish)
    finally:
        crew.dismiss()


class _Crew:
    """The actors."""

    def __init__(self, ray: Any, make: Callable[[], Restores], settings: dict[str, Any], workers: int | None) -> None:
        self._ray = ray
        have = ray.cluster_resources()
        gpus = int(have.get("GPU", 0))
        self.size = workers or gpus or max(1, int(have.get("CPU", 1)))
        needs = {"num_gpus": 1} if gpus else {"num_cpus": 1}
        kind = ray.remote(**needs)(_Worker)
        self._new: Callable[[], Any] = partial(kind.remote, make, settings, None if gpus else 1)
        self.free = deque(self._new() for _ in range(self.size))
        self.working: dict[Any, tuple[Any, list[Job]]] = {}

    def feed(self, again: deque[list[Job]], jobs: Iterator[Job]) -> bool:
        """Gives work to all who are free, first what is to be done again; whether anybody works now."""
        while self.free and (chunk := again.popleft() if again else list(islice(jobs, CHUNK))):
            actor = self.free.popleft()
            self.working[actor.do.remote(chunk)] = actor, chunk
        return bool(self.working)

    def next(self) -> tuple[Any, list[Job], Any]:
        """The next that has finished, or died: (actor, its files, what it answers)."""
        (ready, *_), _ = self._ray.wait(list(self.working))
        return *self.working.pop(ready), ready

    def replace(self) -> None:
        """A new actor for one that has died."""
        self.free.append(self._new())

    def dismiss(self) -> None:
        """Ends all, and removes what those at work leave behind."""
        for actor in [*self.free, *(actor for actor, _ in self.working.values())]:
            self._ray.kill(actor)
        for _, chunk in self.working.values():
            for job in chunk:
                remove_parts(job)


class _Worker:
    """What runs in an actor."""

    def __init__(self, make: Callable[[], Restores], settings: dict[str, Any], threads: int | None) -> None:
        self._make, self._settings, self._threads = make, settings, threads
        self._restorer: Restores | None = None

    def do(self, jobs: list[Job]) -> tuple[Any, list[tuple[Outcome, Path | None]]]:
        """(the restorer's info or its error, for each job the outcome and the hidden file with the result)."""
        from undegrade.core.errors import UndegradeError
        from undegrade.inference.batch import run as run_here

        try:
            restorer = self._restorer or self._load()
        except UndegradeError as error:
            return (type(error).__name__, " ".join(str(error).split())), []
        finished: dict[Job, Path] = {}

        def keep(job: Job, part: Path, target: Path) -> None:
            finished[job] = part

        outcomes = list(run_here(jobs, restorer, publish=keep, **self._settings))
        done = [(replace(outcome, cause=None), finished.get(job)) for job, outcome in zip(jobs, outcomes, strict=True)]
        return restorer.info, done

    def _load(self) -> Restores:
        if self._threads:
            import torch

            torch.set_num_threads(self._threads)  # every core has an actor of its own
        self._restorer = self._make()
        return self._restorer


def _ray() -> Any:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("engine=ray", "ray") from error
    return ray


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120]
