"""Where a batch is run: in this process, in a child that may crash, on a cluster; with or without a record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from undegrade.core.errors import UnknownNameError, UsageError
from undegrade.inference.manifest import Manifest
from undegrade.inference.outcome import Outcome, Restores
from undegrade.inference.scan import Job

__all__ = ["ENGINES", "run"]

ENGINES = ("local", "isolated", "ray")


def run(
    jobs: Iterable[Job],
    restorer: Restores | Callable[[], Restores],
    *,
    engine: str = "local",
    manifest: Manifest | None = None,
    begun: Callable[[Iterable[Job]], Iterable[Job]] | None = None,
    told: Callable[[dict[str, Any]], None] | None = None,
    **settings: Any,
) -> Iterator[Outcome]:
    """Does the jobs and tells of each as it is finished.

    Args:
        jobs: from ``scan`` or ``plan``.
        restorer: what is done to every picture, or a function without arguments that makes it; engines with processes
            of their own call it there.
        engine: ``"local"``: this process; ``"isolated"``: a child process, whose death costs one picture; ``"ray"``:
            the actors of a Ray cluster.
        manifest: leave out what it says is done, and record in it what is done.
        begun: the jobs go through it when they are begun.
        told: called with what the restorer says of itself.
        **settings: ``skip_existing``, ``max_pixels``, ``progress`` as in ``batch.run``; ``workers`` of ``cluster.run``.

    Raises:
        UnknownNameError: no such engine.
        UsageError: an engine with processes of its own was given a restorer of this one.
    """
    work = _engine(engine, restorer, told)
    if manifest is not None:
        settings |= {"publish": manifest.publish, "sync": True}

    def through(some: Iterable[Job]) -> Iterator[Outcome]:
        outcomes: Iterator[Outcome] = work(begun(some) if begun else some, **settings)
        return outcomes

    return through(jobs) if manifest is None else manifest.follow(jobs, through)


def _engine(engine: str, restorer: Any, told: Callable[[dict[str, Any]], None] | None) -> Callable[..., Any]:
    if engine not in ENGINES:
        raise UnknownNameError("engine", engine, ENGINES)
    makes = isinstance(restorer, type) or not hasattr(restorer, "picture")
    if engine == "local":
        from undegrade.inference import batch

        made = restorer() if makes else restorer
        if told:
            told(made.info)
        return partial(_turned(batch.run), made)
    if not makes:
        raise UsageError(f"engine={engine}: give a function that makes the restorer, for example partial(load, 'sr')")
    if engine == "isolated":
        from undegrade.inference import isolate

        return partial(_turned(isolate.run), restorer, told=told)
    from undegrade.inference import cluster

    return partial(_turned(cluster.run), restorer, told=told)


def _turned(run: Callable[..., Iterator[Outcome]]) -> Callable[..., Iterator[Outcome]]:
    """``run`` with the restorer as its first argument, the jobs as the second."""
    return lambda restorer, jobs, **settings: run(jobs, restorer, **settings)
