"""Dehazing: takes haze and fog out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from undegrade.tasks._task import Task

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["TASK"]


def degrade(clean: Tensor, generator: torch.Generator, **strength: Any) -> Tensor:
    """Haze from ``depth`` or a made-up depth. See ``undegrade.degradations.haze`` for the strengths."""
    from undegrade.degradations.haze import haze

    return haze(clean, generator, **strength)


TASK = Task(
    name="dehazing",
    title="Dehazing",
    summary="Takes haze and fog out, indoors and outdoors.",
    aliases=("dehaze",),
    degrade=degrade,
    protocol="dehaze",
    benchmarks=("sots-indoor", "sots-outdoor", "o-haze", "nh-haze", "dense-haze"),
)
