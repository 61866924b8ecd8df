"""Defocus deblurring: sharpens what lay out of focus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from undegrade.tasks._task import Task

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["TASK"]


def degrade(clean: Tensor, generator: torch.Generator, **strength: Any) -> Tensor:
    """Blur of an open lens, from ``depth`` or a made-up depth. See ``undegrade.degradations.defocus``."""
    from undegrade.degradations.defocus import defocus

    return defocus(clean, generator, **strength)


TASK = Task(
    name="defocus_deblurring",
    title="Defocus deblurring",
    summary="Sharpens what lay out of focus.",
    aliases=("defocus",),
    degrade=degrade,
    margin=20,
    protocol="defocus",
    benchmarks=("dpdd", "dpdd-demo", "lytrodefocus"),
)
