"""Desnowing: takes falling snow out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from undegrade.tasks._task import Task

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["TASK"]


def degrade(clean: Tensor, generator: torch.Generator, **strength: Any) -> Tensor:
    """Snowflakes, made or drawn from ``layers``. See ``undegrade.degradations.snow`` for the strengths."""
    from undegrade.degradations.snow import snow

    return snow(clean, generator, **strength)


TASK = Task(
    name="desnowing",
    title="Desnowing",
    summary="Takes falling snow and its veil out.",
    aliases=("desnow",),
    degrade=degrade,
    protocol="rgb",
    benchmarks=("csd", "srrs", "snow100k"),
)
