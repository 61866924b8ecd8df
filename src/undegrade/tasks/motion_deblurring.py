"""Motion deblurring: takes out the blur of shaking cameras and moving objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from undegrade.tasks._task import Task

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["TASK"]


def degrade(clean: Tensor, generator: torch.Generator, **strength: Any) -> Tensor:
    """Motion blur from camera paths or given kernels. See ``undegrade.degradations.motion``."""
    from undegrade.degradations.motion import motion

    return motion(clean, generator, **strength)


TASK = Task(
    name="motion_deblurring",
    title="Motion deblurring",
    summary="Takes out the blur of shaking cameras and moving objects.",
    aliases=("deblur",),
    degrade=degrade,
    margin=24,
    protocol="rgb",
    benchmarks=("gopro", "hide", "realblur-j", "realblur-r", "rsblur", "levin09"),
    weights={None: "motion_deblurring_fast"},
)
