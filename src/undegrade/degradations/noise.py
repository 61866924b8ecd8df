"""Gaussian noise, independent per pixel and channel, and what cameras and their software make of it."""

from __future__ import annotations

import torch
from torch import Tensor

from undegrade.core.errors import InputError
from undegrade.degradations._draw import Strength, chance, fixed, flag, round8, strength, uniform
from undegrade.ops.filters import gaussian_blur

__all__ = ["camera_grain", "gaussian_noise"]


def gaussian_noise(
    clean: Tensor,
    generator: torch.Generator,
    *,
    sigma: Strength = None,
    clipped: bool | None = None,
    camera: float = 0.0,
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
        camera: how often the noise is that of a camera instead, see ``camera_grain``; always clipped and rounded.

    Raises:
        InputError: a single pixel, with the noise of a camera.
        UsageError: a value of no such kind.
    """
    level = strength(generator, sigma, 0.0, 75.0, "sigma") / 255
    if camera and chance(generator, camera, "camera"):
        return round8(clean + level * camera_grain(clean, generator))
    if clipped is None:
        clipped = chance(generator, 0.5) and not fixed(sigma)
    noise = torch.randn(clean.shape, generator=generator, device=generator.device)
    noisy = torch.add(clean, noise.to(clean.device), alpha=level)
    return round8(noisy) if flag(clipped, "clipped") else noisy


def camera_grain(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Noise of standard deviation 1 and of one of the kinds that cameras and their software leave.

    Fine or coarse, as after demosaicing and shrinking, or spots of colour; stronger in light or in lifted shadows,
    weaker where software smooths; equal in all channels of a grey picture. ``pixels`` is (C, H, W) in 0..1.

    Raises:
        InputError: a single pixel, whose noise has no spread.
    """
    if pixels.shape[-2:] == (1, 1):
        raise InputError("1 x 1 pixels are too few for the noise of a camera: leave camera=0")

    def independent() -> Tensor:
        return torch.randn(pixels.shape, generator=generator, device=generator.device).to(pixels.device)

    noise = independent()
    lot = uniform(generator, 0, 1)
    if lot < 0.1:  # equal in all channels
        noise = noise[:1].expand_as(pixels)
    elif lot < 0.35:  # coarse, as after demosaicing and shrinking
        noise = gaussian_blur(noise, uniform(generator, 0.4, 1.3))
        if chance(generator, 0.5):
            noise = noise + uniform(generator, 0.3, 1.5) * noise.mean(0, keepdim=True)
    elif lot < 0.55:  # spots of colour that a camera's own denoiser left
        spots = gaussian_blur(independent(), uniform(generator, 1, 3.5))
        fine = gaussian_blur(noise, uniform(generator, 0.3, 0.8)).mean(0, keepdim=True)
        noise = spots / spots.std() + uniform(generator, 0.2, 2) * fine / fine.std()
    level = pixels.mean(0, keepdim=True)
    if chance(generator, 0.35):  # more where there is more light, or where the shadows were lifted
        noise = noise * (level if chance(generator, 0.5) else 1.2 - level).clamp(0.02) ** 0.5
    if chance(generator, 0.15):  # less in calm places, where software smooths
        busy = gaussian_blur((level - gaussian_blur(level, 2)).abs(), 3)
        noise = noise * (0.2 + busy / (busy.mean() + 1e-3)).clamp(max=2)
    if torch.equal(pixels, pixels[:1].expand_as(pixels)):
        noise = noise[:1].expand_as(pixels)
    return noise / noise.std()
