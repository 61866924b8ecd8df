"""Motion blur: shaking cameras and moving objects, from camera paths or given kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from undegrade.degradations._depth import fractal
from undegrade.degradations._draw import Strength, chance, round8, strength, uniform
from undegrade.degradations._kernels import camera_path, draw_kernel, open_kernels, path_kernel
from undegrade.ops.filters import convolve, guided_filter

__all__ = ["motion"]

_GAMMA = 2.2


def motion(
    clean: Tensor,
    generator: torch.Generator,
    *,
    kernels: str | Path | Tensor | Sequence[Tensor] | None = None,
    length: Strength = None,
    steady: float | None = None,
    foreground: float | None = None,
    gamma: float | None = None,
    noise: Strength = None,
) -> Tensor:
    """``clean`` as photographed by a moving camera, rounded to 8 bit.

    Args:
        clean: (C, H, W) in 0..1.
        generator: source of all randomness.
        kernels: ``.npz`` file, folder of such files, or (k, k) tensors, one of which blurs the whole picture; None
            draws camera paths.
        length: of the path in pixels; None: U(4, 40).
        steady: probability that a drawn path blurs the whole picture alike (no rotation, no zoom); None: 0.3.
        foreground: probability that a part of the picture moves on its own; None: 0.5, but 0 with ``kernels``.
        gamma: probability that light adds up linearly (v^2.2) instead of coded values as in most benchmarks;
            None: 0.3.
        noise: sigma of the noise added after, in levels of 0..255; None: U(0, 2).

    Raises:
        UsageError: a strength of another kind, or outside its range.
        InputError: as ``open_kernels``.
    """
    linear, highlights = chance(generator, 0.3 if gamma is None else gamma, "gamma"), chance(generator, 0.2)
    way = strength(generator, length, 4, 40, "length")
    apart = chance(generator, (0.5 if kernels is None else 0.0) if foreground is None else foreground, "foreground")
    light = clean.clamp(0, 1) ** _GAMMA if linear else clean
    if highlights:
        # A lamp is brighter than white: its streak stays bright.
        lamp = clean.amin(dim=0, keepdim=True) > 0.95
        light = torch.where(lamp, light * uniform(generator, 1, 3), light)
    if kernels is not None:
        limit = max(3, min(clean.shape[-2:]) // 2)
        blurred = convolve(light, draw_kernel(open_kernels(kernels), generator, limit))
    elif chance(generator, 0.3 if steady is None else steady, "steady"):
        blurred = convolve(light, path_kernel(camera_path(generator, way)))
    else:
        blurred = _shaken(light, generator, way)
    if apart:
        mask = _object(clean, generator)
        own = path_kernel(camera_path(generator, way * uniform(generator, 0, 1.5)))
        moved = convolve(torch.cat([light * mask, mask]), own)
        blurred = blurred * (1 - moved[-1:]) + moved[:-1]
    blurred = blurred.clamp(0, 1)
    coded = blurred ** (1 / _GAMMA) if linear else blurred
    grain = torch.randn(clean.shape, generator=generator, device=generator.device).to(clean.device)
    return round8(coded + grain * (strength(generator, noise, 0, 2, "noise") / 255))


def _shaken(light: Tensor, generator: torch.Generator, length: float) -> Tensor:
    """Mean of 9 to 31 poses along a camera path: shift, rotation up to 1.5 degrees, zoom up to 2 %."""
    poses = min(31, max(9, round(0.8 * length)))
    path = camera_path(generator, length)
    shifts = path[torch.linspace(0, len(path) - 1, poses).round().long()]
    time = torch.linspace(-1, 1, poses)
    rotation = math.radians(uniform(generator, -1.5, 1.5)) / 2 * _bent(time, generator)
    zoom = uniform(generator, -0.02, 0.02) / 2 * _bent(time, generator)
    height, width = light.shape[-2:]
    y = torch.arange(height, dtype=light.dtype, device=light.device)[:, None]
    x = torch.arange(width, dtype=light.dtype, device=light.device)[None, :]
    middle_y, middle_x = uniform(generator, 0, height - 1), uniform(generator, 0, width - 1)
    unit_y, unit_x = (2 / max(side - 1, 1) for side in (height, width))  # grid_sample counts from -1 to 1
    total = torch.zeros_like(light)
    for (down, right), turn, closer in zip(shifts.tolist(), rotation.tolist(), zoom.tolist(), strict=True):
        cos, sin = math.cos(turn) / (1 + closer), math.sin(turn) / (1 + closer)
        source_y = middle_y + cos * (y - middle_y) - sin * (x - middle_x) + down
        source_x = middle_x + sin * (y - middle_y) + cos * (x - middle_x) + right
        grid = torch.stack([source_x * unit_x - 1, source_y * unit_y - 1], dim=-1)
        total += F.grid_sample(light[None], grid[None], padding_mode="reflection", align_corners=True)[0]
    return total / poses


def _bent(time: Tensor, generator: torch.Generator) -> Tensor:
    """A smooth course over the exposure between about -1 and 1, with mean 0."""
    return time + uniform(generator, -0.5, 0.5) * (time**2 - (time**2).mean())


def _object(clean: Tensor, generator: torch.Generator) -> Tensor:
    """(1, H, W): a soft mask of a part of the picture that could be an object, its edges on those of the picture."""
    height, width = clean.shape[-2:]
    field = fractal(height, width, generator, uniform(generator, 1.8, 2.5))
    sample = field.flatten()[:: field.numel() // 10000 + 1]
    blob = (field > torch.quantile(sample, uniform(generator, 0.5, 0.85))).to(clean)
    snug = guided_filter(clean.mean(dim=0, keepdim=True), blob, 8, 1e-3)
    return (4 * (snug - 0.5) + 0.5).clamp(0, 1)
