"""Bayer mosaic: two of three colours missing at every pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from undegrade.degradations._draw import choice
from undegrade.ops import bayer

__all__ = ["bayer_mosaic"]


def bayer_mosaic(clean: Tensor, generator: torch.Generator, *, pattern: str | None = None) -> Tensor:
    """The three-channel mosaic with zeros where a colour was not sampled.

    Args:
        clean: (3, H, W) in 0..1.
        generator: source of all randomness.
        pattern: RGGB, BGGR, GRBG or GBRG, counted from pixel (0, 0); None draws one of them.

    Raises:
        InputError: another number of channels.
        UnknownNameError: another pattern.
    """
    return bayer.mosaic(clean, choice(generator, bayer.PATTERNS) if pattern is None else pattern)
