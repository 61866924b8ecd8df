"""JPEG artifacts: takes the blocks and the ringing of compression out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from undegrade.tasks._task import Parameter, Task

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["TASK"]


def degrade(clean: Tensor, generator: torch.Generator, **strength: Any) -> Tensor:
    """One or two JPEG passes; ``quality`` left out is drawn from U(5, 95). See ``undegrade.degradations.jpeg``."""
    from undegrade.degradations.jpeg import jpeg

    return jpeg(clean, generator, **strength)


TASK = Task(
    name="jpeg_artifacts",
    title="JPEG artifact removal",
    summary="Takes the blocks and the ringing of JPEG compression out, whatever the quality.",
    aliases=("dejpeg", "car"),
    parameters=(Parameter("quality", "libjpeg quality the file was saved with", low=1, high=100, auto=True),),
    degrade=degrade,
    protocol="jpeg-luma",
    benchmarks=("live1", "classic5"),
)
