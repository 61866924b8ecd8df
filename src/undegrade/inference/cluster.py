"""A batch on a Ray cluster: a Ray Data pipeline whose actors load the weights once and take a few files at a time.

The driver holds the list of files, and only it gives finished files their names. So a worker may die at any moment: Ray
starts it again and gives it the same files, without one being lost, doubled, or seen half written. Ray would do so for
ever; an account of who has died over what lets a picture that kills its worker be given up alone. The files lie where
all machines see them: on a shared disk, or in an object store (``s3://...``), where a file is put whole or not at all.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from undegrade.core.errors import InputError, MissingExtraError, one_line
from undegrade.inference.isolate import published, raised
from undegrade.inference.manifest import remove_parts
from undegrade.inference.outcome import Outcome, Publish, Restores, failed, publish
from undegrade.inference.scan import Job

__all__ = ["run"]

CHUNK = 4
"""Files that an actor takes at a time, between which reading, restoring and writing overlap."""
WINDOW = 512
"""Files for each actor that are one pipeline: a folder without end is read as it is done, weights are loaded seldom."""
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
        make: makes the restorer, in every actor.
        workers: actors; default: one for each GPU of the cluster, without GPUs one for each of its CPUs.
        progress: not called; files are small steps here.
        publish: as there, called in this process.
        told: called with the restorer's ``info``.
        **settings: further arguments of ``batch.run``.

    Raises:
        MissingExtraError: Ray Data is not installed.
        UndegradeError: the restorer cannot be made.
    """
    ray = _ray()
    if started := not ray.is_initialized():
        ray.init(address=os.environ.get("RAY_ADDRESS"), log_to_driver=False, configure_logging=False)
    begun: dict[int, Job] = {}
    try:
        have = ray.cluster_resources()
        gpus = int(have.get("GPU", 0))
        size = workers or gpus or max(1, int(have.get("CPU", 1)))
        # Without a GPU every core has an actor of its own, which takes one thread.
        needs, threads = ({"num_gpus": 1}, None) if gpus else ({"num_cpus": 1}, 1)
        worker = (make, settings, threads, ray.remote(num_cpus=0, max_restarts=-1)(_Ledger).remote())
        numbered = enumerate(jobs)
        while window := dict(islice(numbered, size * WINDOW)):
            begun.update(window)
            for number, info, outcome, part in _answers(ray, window, worker, size, needs):
                if isinstance(info, tuple):
                    raise raised(*info)
                if told:
                    told(info)
                yield published(begun.pop(number), outcome, part, publish)
    finally:
        if started:
            ray.shutdown()
        for job in begun.values():
            remove_parts(job)


def _answers(
    ray: Any, jobs: dict[int, Job], worker: tuple[Any, ...], size: int, needs: dict[str, int]
) -> Iterator[tuple[int, Any, Outcome, Path | None]]:
    """What the actors say of each of the numbered jobs, as it comes."""
    rows = [{"number": number, "job": pickle.dumps(job)} for number, job in jobs.items()]
    pipeline = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // CHUNK)).map_batches(
        _Worker, fn_constructor_args=worker, batch_size=CHUNK, concurrency=min(size, -(-len(rows) // CHUNK)), **needs
    )
    for batch in pipeline.iter_batches(batch_size=None, prefetch_batches=0):
        for number, answer in zip(batch["number"], batch["answer"], strict=True):
            yield int(number), *pickle.loads(answer)


class _Ledger:
    """Who has died over what: an actor that outlives the workers."""

    def __init__(self) -> None:
        self._open, self._losses = set[int](), Counter[int]()

    def begin(self, numbers: list[int]) -> list[int]:
        """Notes that these files are begun; how many workers each of them has lost until now."""
        self._losses.update(self._open.intersection(numbers))  # begun and not ended: that worker is dead
        self._open.update(numbers)
        return [self._losses[number] for number in numbers]

    def end(self, numbers: list[int]) -> None:
        """Notes that the worker is alive and done with them."""
        self._open.difference_update(numbers)


class _Worker:
    """What runs in an actor."""

    def __init__(
        self, make: Callable[[], Restores], settings: dict[str, Any], threads: int | None, ledger: Any
    ) -> None:
        self._make, self._settings, self._threads, self._ledger = make, settings, threads, ledger
        self._restorer: Restores | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Does the jobs of a batch: for each (the restorer's info or its error, the outcome, the hidden result)."""
        from undegrade.core.errors import UndegradeError

        numbers, jobs = batch["number"].tolist(), [pickle.loads(job) for job in batch["job"]]
        try:
            restorer = self._restorer or self._load()
        except UndegradeError as error:
            refusal = pickle.dumps(((type(error).__name__, one_line(error)), None, None))
            return {"number": numbers, "answer": [refusal] * len(numbers)}
        if any(self._told("begin", numbers)):
            self._told("end", numbers)
            # Alone: if one of them kills its worker, the others are not concerned.
            done = [self._alone(number, job, restorer) for number, job in zip(numbers, jobs, strict=True)]
        else:
            done = self._do(jobs, restorer)
            self._told("end", numbers)
        return {"number": numbers, "answer": [pickle.dumps((restorer.info, *answer)) for answer in done]}

    def _alone(self, number: int, job: Job, restorer: Restores) -> tuple[Outcome, Path | None]:
        remove_parts(job)
        if self._told("begin", [number])[0] >= TRIES:
            outcome = replace(failed(job, InputError(f"{job.source}: {TRIES} workers died over it")), cause=None)
            part = None
        else:
            ((outcome, part),) = self._do([job], restorer)
        self._told("end", [number])
        return outcome, part

    def _do(self, jobs: list[Job], restorer: Restores) -> list[tuple[Outcome, Path | None]]:
        from undegrade.inference.batch import run as run_here

        finished: dict[Job, Path] = {}

        def keep(job: Job, part: Path, target: Path) -> None:
            finished[job] = part

        outcomes = run_here(jobs, restorer, publish=keep, **self._settings)
        return [(replace(outcome, cause=None), finished.get(job)) for job, outcome in zip(jobs, outcomes, strict=True)]

    def _told(self, what: str, numbers: list[int]) -> Any:
        import ray

        return ray.get(getattr(self._ledger, what).remote(numbers))

    def _load(self) -> Restores:
        if self._threads:
            import torch

            torch.set_num_threads(self._threads)
        self._restorer = self._make()
        return self._restorer


def _ray() -> Any:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("engine=ray", "ray") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False  # the command has its own
    return ray
