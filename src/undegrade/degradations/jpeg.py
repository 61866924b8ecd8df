"""JPEG compression, once or twice, as libjpeg does it."""

from __future__ import annotations

import torch
from torch import Tensor

from undegrade.degradations._draw import Strength, chance, fixed, integer, strength
from undegrade.ops.jpeg import round_trip
from undegrade.ops.pad import pad

__all__ = ["jpeg"]


def jpeg(
    clean: Tensor,
    generator: torch.Generator,
    *,
    quality: Strength = None,
    subsampling: str | None = None,
    twice: float | None = None,
) -> Tensor:
    """What is left after saving as JPEG.

    One channel is coded as a grey file, which is how the luma benchmarks are made.

    Args:
        clean: (1, H, W) or (3, H, W) in 0..1.
        generator: source of all randomness.
        quality: 1..100 of libjpeg; a number, a pair, or None for U(5, 95).
        subsampling: of the chroma; None: 4:2:0 in 80 % of the cases and 4:4:4 else, 4:2:0 always when ``quality``
            is one number (a test condition).
        twice: how often an earlier compression, its grid shifted by 0..7 pixels, comes first; None: 20 %, never
            when ``quality`` is one number.

    Raises:
        UsageError: a strength of another kind, or outside its range; neither one nor three channels.
        UnknownNameError: an unknown subsampling.
    """
    full_chroma, again = chance(generator, 0.2), chance(generator, 0.2 if twice is None else twice, "twice")
    if subsampling is None:
        subsampling = "4:4:4" if full_chroma and not fixed(quality) else "4:2:0"
    if again and not (fixed(quality) and twice is None):
        first = round(strength(generator, None if fixed(quality) else quality, 5, 95, "quality"))
        shift_y, shift_x = integer(generator, 0, 7), integer(generator, 0, 7)
        shifted = round_trip(pad(clean, (shift_x, 0, shift_y, 0)), first, subsampling)
        clean = shifted[..., shift_y:, shift_x:]
    return round_trip(clean, round(strength(generator, quality, 5, 95, "quality")), subsampling)
