"""Snow: flakes of all sizes before the picture, made here or drawn from a folder of masks, and a veil behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from undegrade.core.errors import UsageError
from undegrade.degradations._draw import Strength, chance, round8, strength, uniform
from undegrade.degradations._layers import Layers, open_layers
from undegrade.degradations._splat import Scatter, strew
from undegrade.degradations.haze import veil as snow_veil
from undegrade.ops.filters import gaussian_blur

__all__ = ["flakes", "snow"]


@dataclass(frozen=True)
class _Size:
    """A size class: how often it occurs, radius in pixels of a picture 480 high, flakes in a megapixel, opacity, and
    the way a flake travels during the exposure, in radii."""

    share: float
    radius: tuple[float, float]
    crowd: tuple[float, float]
    opacity: tuple[float, float]
    travel: float
    streaks: bool = False
    blurred: bool = False


_SIZES = (
    # Powder: the fine grain over all of the picture that the dense masks of Snow100K have.
    _Size(0.35, (0.5, 1.1), (20000, 120000), (0.08, 0.3), 2),
    _Size(0.9, (0.7, 1.6), (2000, 12000), (0.35, 1), 2, streaks=True),
    _Size(0.8, (1.6, 4.0), (300, 2000), (0.35, 1), 2, streaks=True),
    _Size(0.6, (4.0, 14.0), (10, 120), (0.35, 1), 6, blurred=True),
)


def snow(
    clean: Tensor,
    generator: torch.Generator,
    *,
    layers: str | Path | Tensor | Sequence[Tensor] | Layers | None = None,
    gain: Strength = None,
    density: Strength = None,
    veil: float | None = None,
) -> Tensor:
    """Falling snow: K = J (1 - Z) + C Z with a flake mask Z and a bright colour C, perhaps behind a veil of haze.

    With the veil this is the model of CSD and SRRS, without it that of Snow100K. The result is rounded to 8 bit.

    Args:
        clean: (C, H, W) in 0..1.
        generator: source of all randomness.
        layers: flake masks to draw from (a folder, tensors, or ``Layers``); None makes flakes.
        gain: factor on the mask; None: U(0.7, 1.2) for drawn masks, 1 for made ones.
        density: factor on the number of made flakes; None: U(0.7, 3).
        veil: probability of the veil; None: 0.5.

    Raises:
        UsageError: a strength of another kind, or outside its range; ``density`` with ``layers``.
        InputError: as ``open_layers``.
    """
    height, width = clean.shape[-2:]
    veiled = chance(generator, 0.5 if veil is None else veil, "veil")
    if layers is None:
        crowd = strength(generator, density, 0.7, 3.0, "density")
        mask = flakes(height, width, generator, density=crowd) * strength(generator, gain, 1.0, 1.0, "gain")
    else:
        if density is not None:
            raise UsageError(f"density={density!r}: says how many flakes are made: leave out 'layers'")
        mask = open_layers(layers).draw(generator, height, width)
        mask = mask * strength(generator, gain, 0.7, 1.2, "gain")
    mask = mask.clamp(0, 1).to(clean.device)
    tint = 1 - 0.02 * torch.rand(clean.shape[0], 1, 1, generator=generator, device=generator.device)
    colour = uniform(generator, 0.9, 1.0) * tint.to(clean.device)
    snowy = clean * (1 - mask) + colour * mask
    return round8(snow_veil(snowy, generator) if veiled else snowy)


def flakes(height: int, width: int, generator: torch.Generator, *, density: float = 1.0) -> Tensor:
    """(1, height, width): the flake mask Z in 0..1, of up to four size classes that fall in one direction.

    Args:
        height, width: of the mask; flakes grow with pictures higher than 480.
        generator: source of all randomness.
        density: factor on the number of flakes.
    """
    zoom = max(1.0, min(height, width) / 480)
    fall = math.radians(uniform(generator, -40, 40))
    hastiness = uniform(generator, 0, 1)
    streaky = chance(generator, 0.2)  # long bright streaks, as CSD has them
    clear = torch.ones(1, height, width)
    for size in _SIZES:
        if not chance(generator, size.share):
            continue
        reach = size.travel * (3 if streaky and size.streaks else 1)
        # Few flakes to many, evenly on a logarithmic scale.
        number = size.crowd[0] * (size.crowd[1] / size.crowd[0]) ** uniform(generator, 0, 1)
        copies = density * number * height * width / 1e6 / zoom**2
        shapes = max(1, min(6, round(copies)))
        opacity = uniform(generator, *size.opacity)
        scatters: list[Scatter] = []
        for _ in range(shapes):
            radius = zoom * size.radius[0] * (size.radius[1] / size.radius[0]) ** uniform(generator, 0, 1)
            travelled = reach * hastiness * uniform(generator, 0.5, 1)
            shape = _flake(radius, travelled * radius, fall, generator)
            if size.blurred:
                shape = _blurred(shape, radius * uniform(generator, 0.1, 0.4))
            bright = opacity / (1 + 0.3 * travelled)  # what moves covers each point for a shorter time
            scatters.append((shape, math.ceil(copies / shapes), 0.4 * bright, bright))
        clear *= 1 - strew(scatters, height, width, generator).clamp(max=1)
    return 1 - clear


def _flake(radius: float, motion: float, fall: float, generator: torch.Generator) -> Tensor:
    """An uneven ellipse with a soft edge, drawn out by ``motion`` pixels along ``fall`` (radians from the vertical)."""
    ratio, turn = uniform(generator, 0.5, 1), uniform(generator, 0, math.pi)
    edge = max(0.7, radius * uniform(generator, 0.2, 0.6))
    reach = math.ceil(1.3 * radius + edge + motion / 2) + 1
    axis = torch.arange(-reach, reach + 1, dtype=torch.float32)
    y, x = axis[:, None], axis[None, :]
    # Motion: the distance is counted from the nearest point of the way travelled.
    along = (y * math.cos(fall) + x * math.sin(fall)).clamp(-motion / 2, motion / 2)
    y, x = y - along * math.cos(fall), x - along * math.sin(fall)
    u, v = x * math.cos(turn) + y * math.sin(turn), (y * math.cos(turn) - x * math.sin(turn)) / ratio
    direction = torch.atan2(v, u)
    uneven = torch.ones_like(direction)
    for wave in (2, 3, 5):
        uneven += uniform(generator, -0.1, 0.1) * torch.cos(wave * direction + uniform(generator, 0, 2 * math.pi))
    return ((radius * uneven - torch.hypot(u, v)) / edge + 0.5).clamp(0, 1)


def _blurred(shape: Tensor, sigma: float) -> Tensor:
    if sigma < 0.3:
        return shape
    room = math.ceil(2 * sigma)
    return gaussian_blur(torch.nn.functional.pad(shape[None], (room,) * 4), sigma)[0]
