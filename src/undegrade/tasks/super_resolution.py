"""Super-resolution: makes pictures two, three or four times as large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from undegrade.tasks._task import Parameter, Task

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["TASK"]


def degrade(clean: Tensor, generator: torch.Generator, **strength: Any) -> Tensor:
    """Matlab's bicubic shrinking; ``scale`` left out is 2, 3 or 4. The result is ``scale`` times smaller."""
    from undegrade.degradations.bicubic import bicubic

    return bicubic(clean, generator, **strength)


TASK = Task(
    name="super_resolution",
    title="Super-resolution",
    summary="Makes pictures 2, 3 or 4 times as large, with the detail that bicubic enlargement lacks.",
    aliases=("sr", "upscale"),
    parameters=(Parameter("scale", "how many times larger each side becomes", choices=(2, 3, 4), default=2),),
    degrade=degrade,
    margin=12,  # a multiple of every scale; the widened kernel reaches two small pixels
    protocol="y-matlab",
    benchmarks=("set5", "set14", "bsd100", "urban100"),
)
