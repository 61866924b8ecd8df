"""Deraining: takes falling rain out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from undegrade.tasks._task import Task

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["TASK"]


def degrade(clean: Tensor, generator: torch.Generator, **strength: Any) -> Tensor:
    """Rain streaks, made or drawn from ``layers``. See ``undegrade.degradations.rain`` for the strengths."""
    from undegrade.degradations.rain import rain

    return rain(clean, generator, **strength)


TASK = Task(
    name="deraining",
    title="Deraining",
    summary="Takes falling rain out, light and heavy.",
    aliases=("derain",),
    degrade=degrade,
    protocol="derain-y",
    benchmarks=("rain100l", "rain100h", "test100", "test1200", "test2800", "spa"),
)
