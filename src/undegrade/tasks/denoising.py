"""Denoising: takes the noise of sensors out of colour and grey pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from undegrade.tasks._task import Parameter, Task

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["TASK"]


def degrade(clean: Tensor, generator: torch.Generator, **strength: Any) -> Tensor:
    """Gaussian noise; ``sigma`` left out is drawn from U(0, 75), half of the results clipped to 8 bit."""
    from undegrade.degradations.noise import gaussian_noise

    return gaussian_noise(clean, generator, **strength)


TASK = Task(
    name="denoising",
    title="Denoising",
    summary="Takes noise out, of any strength up to sigma 75, in colour and grey pictures.",
    aliases=("denoise",),
    parameters=(Parameter("sigma", "standard deviation of the noise in levels of 0-255", low=0, high=75, auto=True),),
    degrade=degrade,
    protocol="rgb",
    benchmarks=("cbsd68", "kodak24", "mcmaster", "urban100", "set12"),
    weights={None: "denoising_fast"},
)
