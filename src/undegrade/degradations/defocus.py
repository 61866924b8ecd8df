"""Defocus blur: a thin lens that is sharp at one distance only, layer by layer from the back to the front."""

from __future__ import annotations

import torch
from torch import Tensor

from undegrade.degradations._depth import made_depth, normalised
from undegrade.degradations._draw import Strength, integer, probability, round8, strength, uniform
from undegrade.degradations._kernels import Aperture
from undegrade.ops.filters import convolve

__all__ = ["defocus"]

_GAMMA = 2.2
_SHARP = 0.4  # pixels of radius below which blur cannot be seen


def defocus(
    clean: Tensor,
    generator: torch.Generator,
    *,
    depth: Tensor | None = None,
    radius: Strength = None,
    level: float | None = None,
    noise: Strength = None,
    gain: Strength = None,
) -> Tensor:
    """``clean`` through an open lens, rounded to 8 bit. Blurred in linear light.

    Args:
        clean: (C, H, W) in 0..1.
        generator: source of all randomness.
        depth: (1, H, W) or (H, W) in any unit, 0 where unknown; None makes one up.
        radius: of the largest blur circle in pixels; a number, a pair, or None: 0 in 15 % of the cases, else U(1, 16).
        level: probability that all of the picture lies at one distance (the same blur everywhere); None: 0.2.
        noise: sigma of the noise added after, in levels of 0..255; None: U(0, 2).
        gain: exposure against the sharp picture; None: U(0.95, 1.05).

    Raises:
        UsageError: a strength of another kind, or outside its range.
    """
    lots = [uniform(generator, 0, 1), uniform(generator, 0, 1)]
    largest = strength(generator, radius, 1, 16, "radius")
    if radius is None and lots[0] < 0.15:
        largest = 0.0
    flat = 0.2 if level is None else probability(level, "level")
    aperture = Aperture.draw(generator)
    light = clean.clamp(0, 1) ** _GAMMA
    if largest >= _SHARP:
        if lots[1] < flat:
            light = convolve(light, aperture.kernel(largest))
        else:
            scaled = made_depth(clean, generator) if depth is None else normalised(depth, clean).to(clean.device)
            light = _through_lens(light, _circles(scaled, generator), largest, aperture, integer(generator, 8, 12))
    coded = (light.clamp(min=0) * strength(generator, gain, 0.95, 1.05, "gain") ** _GAMMA).clamp(0, 1) ** (1 / _GAMMA)
    grain = torch.randn(clean.shape, generator=generator, device=generator.device).to(clean.device)
    return round8(coded + grain * (strength(generator, noise, 0, 2, "noise") / 255))


def _circles(depth: Tensor, generator: torch.Generator) -> Tensor:
    """(1, H, W) in -1..1: the signed size of the circle of confusion, (d - s) / d, for a focus s inside the scene.

    Negative in front of the focus. The largest 5 % are cut at 1 or -1, or one near leaf would leave the rest sharp.
    """
    distance = 0.2 + 0.8 * depth  # nothing touches the lens
    focus = uniform(generator, float(distance.min()), float(distance.max()))
    signed = (distance - focus) / distance
    sample = signed.abs().flatten()[:: signed.numel() // 10000 + 1]
    return (signed / torch.quantile(sample, 0.95).clamp(min=1e-6)).clamp(-1, 1)


def _through_lens(light: Tensor, circles: Tensor, largest: float, aperture: Aperture, layers: int) -> Tensor:
    """Cut the scene into layers of like blur, spread each, and lay them over each other from the back."""
    low, high = float(circles.min()), float(circles.max())
    step = max((high - low) / (layers - 1), 1e-6)
    total, covered = torch.zeros_like(light), torch.zeros_like(circles)
    for number in reversed(range(layers)):  # the farthest has the largest signed circle
        signed = low + number * step
        mask = (1 - ((circles - signed) / step).abs()).clamp(min=0)  # neighbours share what lies between them
        if not mask.any():
            continue
        layer = torch.cat([light * mask, mask])
        if abs(signed) * largest >= _SHARP:
            layer = convolve(layer, aperture.kernel(abs(signed) * largest))
        total = total * (1 - layer[-1:]) + layer[:-1]
        covered = covered * (1 - layer[-1:]) + layer[-1:]
    return total / covered.clamp(min=1e-3)
