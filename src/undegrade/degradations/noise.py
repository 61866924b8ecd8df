"""Gaussian noise, independent per pixel and channel."""

from __future__ import annotations

import torch
from torch import Tensor

from undegrade.degradations._draw import Strength, chance, fixed, round8, strength

__all__ = ["gaussian_noise"]


def gaussian_noise(
    clean: Tensor, generator: torch.Generator, *, sigma: Strength = None, clipped: bool | None = None
) -> Tensor:
    """``clean`` + N(0, (sigma/255)^2).

    Two protocols are in use. The customary one keeps floats, neither clipped nor rounded, so the result may leave
    0..1; the pyramid-attention tables come from 8-bit files, clipped and rounded.

    Args:
        clean: (C, H, W) in 0..1.
        generator: source of all randomness.
        sigma: standard deviation in levels of 0..255; a number, a pair, or None for U(0, 75).
        clipped: whether the result is clipped and rounded to 8 bit. None: by a coin while sigma is random, no
            when sigma is one number (a test condition).
    """
    level = strength(generator, sigma, 0.0, 75.0, "sigma") / 255
    if clipped is None:
        clipped = chance(generator, 0.5) and not fixed(sigma)
    noise = torch.randn(clean.shape, generator=generator, device=generator.device)
    noisy = torch.add(clean, noise.to(clean.device), alpha=level)
    return round8(noisy) if clipped else noisy
