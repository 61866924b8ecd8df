"""Haze and fog: light scattered between the scene and the camera, from a depth map or a made-up depth."""

from __future__ import annotations

from numbers import Real
from typing import Literal

import torch
from torch import Tensor

from undegrade.core.errors import UsageError
from undegrade.degradations._depth import made_depth, normalised, sky
from undegrade.degradations._draw import Strength, chance, round8, strength, uniform
from undegrade.ops.filters import guided_filter

__all__ = ["beta_for", "haze", "scatter", "skylight", "veil"]


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
    airlight: Strength | Literal["sky"] = None,
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
        airlight: A; None: U(0.7, 1), exactly 1 in half of the cases with a depth map, as in SOTS-indoor. ``"sky"``:
            as in a landscape, where what is far takes the colour of the picture's own sky and the sky is farthest.
        tint: how far the airlight's channels may stray (0..1); None: 0.04 in a third of the cases, else 0.

    Raises:
        UsageError: a strength of another kind, or outside its range.
    """
    as_indoors, full_light = chance(generator, 0.5), chance(generator, 0.5)
    scaled = made_depth(clean, generator) if depth is None else normalised(depth, clean).to(clean.device)
    if isinstance(airlight, str):
        if airlight != "sky":
            raise UsageError(f"airlight={airlight!r}: give a number, a pair [low, high] or 'sky'")
        scaled = torch.maximum(scaled, _soft_sky(clean))
    if beta is None and transmission is None and depth is not None and as_indoors:
        beta = (0.6, 1.8)
    if beta is None:
        wanted = strength(generator, transmission, 0.2, 0.9, "transmission")
        if not 0 < wanted <= 1:
            raise UsageError(f"transmission={transmission!r}: a share of the light, above 0 and up to 1")
        density = beta_for(scaled, wanted)
    else:
        density = strength(generator, beta, 0.6, 1.8, "beta")
    light: Tensor | float
    if isinstance(airlight, str):
        light = skylight(clean, generator)
    else:
        light = strength(generator, airlight, 0.7, 1.0, "airlight")
        if airlight is None and depth is not None and full_light:
            light = 1.0
    if tint is not None and not (isinstance(tint, Real) and 0 <= tint <= 1):
        raise UsageError(f"tint={tint!r}: give a number in 0-1")
    stray = tint if tint is not None else 0.04 * chance(generator, 1 / 3)
    colour = light * (1 - stray * torch.rand(clean.shape[0], 1, 1, generator=generator, device=generator.device))
    return round8(scatter(clean, torch.exp(-density * scaled), colour.to(clean.device)))


def _soft_sky(clean: Tensor) -> Tensor:
    """The sky without the hard columns that a bird or a mast cuts off: rounded off along the picture's edges."""
    radius = max(2, max(clean.shape[-2:]) // 30)
    return guided_filter(clean.mean(dim=0, keepdim=True), sky(clean), radius, 1e-3).clamp(0, 1)


def skylight(clean: Tensor, generator: torch.Generator) -> Tensor:
    """(C, 1, 1), the colour that far things take: nearly that of the sky, or of the brightest where none is seen.

    Args:
        clean: (C, H, W) in 0..1.
        generator: source of all randomness.
    """
    above = sky(clean)
    highest = above[0] > 0.9
    if float(above.mean()) > 0.02 and highest.any():
        light = clean[:, highest].mean(1)
    else:
        pixels = clean.flatten(1)
        light = pixels[:, :: pixels.shape[1] // 1_000_000 + 1].quantile(0.95, 1)  # which refuses large tensors
    light = light + uniform(generator, 0, 0.6) * (light.mean() - light)
    light = light * uniform(generator, 0.9, 1.1)
    if len(light) == 3:  # yellowish to bluish
        light = light + uniform(generator, 0, 0.05) * light.new_tensor([-1.0, 0.0, 1.0])
    return light.clamp(0.3, 1)[:, None, None]


def veil(clean: Tensor, generator: torch.Generator) -> Tensor:
    """The light haze that hangs in falling snow: mean transmission U(0.45, 0.95), airlight U(0.7, 1); not rounded."""
    depth = made_depth(clean, generator)
    density = beta_for(depth, uniform(generator, 0.45, 0.95))
    return scatter(clean, torch.exp(-density * depth), uniform(generator, 0.7, 1))
