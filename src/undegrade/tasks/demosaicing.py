"""Demosaicing: fills in the two colours that a Bayer sensor does not see at each pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from undegrade.core.errors import InputError
from undegrade.tasks._task import Parameter, Task

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["TASK"]


def degrade(clean: Tensor, generator: torch.Generator, **strength: Any) -> Tensor:
    """The zero-filled mosaic; ``pattern`` left out is one of the four phases."""
    from undegrade.degradations.mosaic import bayer_mosaic

    return bayer_mosaic(clean, generator, **strength)


def prepare(picture: Tensor, pattern: str = "RGGB") -> Tensor:
    """A mosaic of one channel, or of three that are equal, becomes the zero-filled form.

    Three others are that form already, in whatever phase.

    Raises:
        InputError: a colour picture that is no mosaic.
    """
    from undegrade.ops.bayer import from_single, zero_filled

    first = picture[..., :1, :, :]
    if bool((picture == first).all()):
        return from_single(first, pattern)
    if not zero_filled(picture):
        raise InputError(
            "a colour picture, not the mosaic of a Bayer sensor: give one channel, or three with zeros where the "
            "sensor sees nothing"
        )
    return picture


TASK = Task(
    name="demosaicing",
    title="Demosaicing",
    summary="Makes a colour picture of a Bayer mosaic.",
    aliases=("demosaic",),
    parameters=(
        Parameter(
            "pattern", "colours of the sensor's first two rows, two each", choices=("RGGB", "BGGR", "GRBG", "GBRG")
        ),
    ),
    degrade=degrade,
    prepare=prepare,
    protocol="demosaic-cpsnr",
    benchmarks=("mcmaster", "kodak24", "cbsd68", "urban100"),
)
