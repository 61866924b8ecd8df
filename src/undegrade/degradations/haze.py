"""Haze and fog: light scattered between the scene and the camera, from a depth map or a made-up depth."""

from __future__ import annotations

import torch
from torch import Tensor

from undegrade.degradations._depth import made_depth, normalised
from undegrade.degradations._draw import Strength, chance, round8, strength, uniform

__all__ = ["beta_for", "haze", "scatter", "veil"]


def scatter(clean: Tensor, transmission: Tensor, airlight: Tensor | float) -> Tensor:
    """I = J t + A (1 - t), the model of Koschmieder (1924); not clipped.

    Args:
        clean: J, (C, H, W) in 0..1.
        transmission: t, (1, H, W) in 0..1.
        airlight: A, a number or (C, 1, 1).
    """
    return clean * transmission + airlight * (1 - transmission)


def beta_for(depth: Tensor, transmission: float) -> float:
    """The beta at which exp(-beta depth) has this mean, found by bisection to a thousandth of the transmission."""
    sample = depth.reshape(-1)
    sample = sample[:: sample.numel() // 4096 + 1]
    low, high = 0.0, 40.0
    for _ in range(24):
        middle = (low + high) / 2
        if float(torch.exp(-middle * sample).mean()) > transmission:
            low = middle
        else:
            high = middle
    return high


def haze(
    clean: Tensor,
    generator: torch.Generator,
    *,
    depth: Tensor | None = None,
    beta: Strength = None,
    transmission: Strength = None,
    airlight: Strength = None,
    tint: float | None = None,
) -> Tensor:
    """Haze over ``clean``, rounded to 8 bit.

    Haze hangs on the whole scene: degrade whole pictures, shrunk if need be, rather than small crops.

    Args:
        clean: (C, H, W) in 0..1.
        generator: source of all randomness.
        depth: (1, H, W) or (H, W) in any unit, 0 where unknown, scaled so that its far end is 1; None makes one up.
        beta: scattering per unit of that scaled depth (RESIDE indoor: 0.6-1.8). None: found from ``transmission``.
        transmission: mean of t wanted when ``beta`` is None; None: U(0.2, 0.9). With a depth map and neither of the
            two given, every other beta is U(0.6, 1.8).
        airlight: A; None: U(0.7, 1), exactly 1 in half of the cases with a depth map, as in SOTS-indoor.
        tint: how far the airlight's channels may stray (0..1); None: 0.04 in a third of the cases, else 0.
    """
    as_indoors, full_light = chance(generator, 0.5), chance(generator, 0.5)
    scaled = made_depth(clean, generator) if depth is None else normalised(depth, clean).to(clean.device)
    if beta is None and transmission is None and depth is not None and as_indoors:
        beta = (0.6, 1.8)
    if beta is None:
        density = beta_for(scaled, strength(generator, transmission, 0.2, 0.9, "transmission"))
    else:
        density = strength(generator, beta, 0.6, 1.8, "beta")
    light = strength(generator, airlight, 0.7, 1.0, "airlight")
    if airlight is None and depth is not None and full_light:
        light = 1.0
    stray = tint if tint is not None else 0.04 * chance(generator, 1 / 3)
    colour = light * (1 - stray * torch.rand(clean.shape[0], 1, 1, generator=generator, device=generator.device))
    return round8(scatter(clean, torch.exp(-density * scaled), colour.to(clean.device)))


def veil(clean: Tensor, generator: torch.Generator) -> Tensor:
    """The light haze that hangs in falling snow: mean transmission U(0.45, 0.95), airlight U(0.7, 1); not rounded."""
    depth = made_depth(clean, generator)
    density = beta_for(depth, uniform(generator, 0.45, 0.95))
    return scatter(clean, torch.exp(-density * depth), uniform(generator, 0.7, 1))
