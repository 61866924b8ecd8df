"""Batches of patches, drawn ahead by worker processes if asked; the stream does not depend on how many."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from undegrade.core.errors import UndegradeError, UsageError
from undegrade.data.patches import Patches

__all__ = ["BatchPlan", "Patch", "batches"]


@dataclass(frozen=True)
class Patch:
    """One phase of the progressive patch schedule.

    Attributes:
        until: the phase lasts until this share of the training is done, 0..1.
        size: patch side in pixels (of the target).
        batch: patches in the joint batch of all processes.
    """

    until: float
    size: int
    batch: int

    def __post_init__(self) -> None:
        if not 0 < self.until <= 1:
            raise UsageError(f"until={self.until} of a patch phase: a share of the training, above 0 and up to 1")
        if self.size < 1 or self.batch < 1:
            raise UsageError(f"size={self.size}, batch={self.batch} of a patch phase: both must be at least 1")


BatchPlan = Callable[[int], Patch]
"""step -> the patches of its joint batch."""

_Place = tuple[int, int, int]  # step, place in the batch, patch size


class _Samples(Dataset[tuple[Tensor, Tensor] | UndegradeError]):
    """Samples by place; an error is returned, because torch would rebuild a worker's from its traceback as text."""

    def __init__(self, patches: Patches) -> None:
        self.patches = patches

    def __getitem__(self, place: _Place) -> tuple[Tensor, Tensor] | UndegradeError:
        try:
            return self.patches.sample(*place)
        except UndegradeError as error:
            return error


def _collate(samples: list[tuple[Tensor, Tensor] | UndegradeError]) -> Any:
    """(inputs, targets), or the first error."""
    return next((sample for sample in samples if isinstance(sample, UndegradeError)), None) or default_collate(samples)


class _Steps(Sampler[list[_Place]]):
    """This process's share of every joint batch from ``first`` on, without end."""

    def __init__(self, plan: BatchPlan, first: int, rank: int, world: int) -> None:
        self.plan, self.first, self.rank, self.world = plan, first, rank, world

    def __iter__(self) -> Iterator[list[_Place]]:
        step = self.first
        while True:
            patch = self.plan(step)
            share = patch.batch // self.world
            yield [(step, place, patch.size) for place in range(self.rank * share, (self.rank + 1) * share)]
            step += 1


def _undisturbed(_: int) -> None:
    """Ctrl-C reaches workers too, and they are still needed for the step that is to be finished."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def batches(
    patches: Patches, plan: BatchPlan, *, first: int = 0, workers: int = 0, rank: int = 0, world: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (inputs, targets), each (B, 3, size, size), beginning at step ``first``.

    With ``world`` processes each yields its own part of the joint batch: rank r the r-th slice, so that all together
    see exactly what one process would.

    Raises:
        UndegradeError: as ``Patches.sample``, of the same kind whether or not a worker met it.
    """
    loader = DataLoader(
        _Samples(patches),
        batch_sampler=_Steps(plan, first, rank, world),
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=False,
        collate_fn=_collate,
        worker_init_fn=_undisturbed,
        generator=Generator(),  # else a resumed run would draw one number more from the common one
    )
    for batch in loader:
        if isinstance(batch, UndegradeError):
            raise batch
        yield batch
