"""How far away things are: depth maps brought to 0..1, and depth made up for a photograph that has none."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from undegrade.core.errors import UsageError
from undegrade.degradations._draw import chance, integer, uniform
from undegrade.ops.depth import farthest
from undegrade.ops.filters import box_mean, guided_filter

__all__ = ["fractal", "made_depth", "normalised", "sky"]


def normalised(depth: Tensor, clean: Tensor) -> Tensor:
    """A depth map in any unit as (1, H, W) in 0..1, the farthest percent at 1, unknown pixels (0) filled.

    Args:
        depth: (H, W) or (1, H, W) with the size of ``clean``; 0 where unknown.
        clean: (C, H, W), the photograph; holes are filled along its edges.

    Raises:
        UsageError: no tensor, another size, or nothing known.
    """
    if not isinstance(depth, Tensor):
        raise UsageError(
            f"depth={depth!r}: give a tensor of the picture's size, in Python; sources of recipes take folders"
        )
    depth = depth.reshape(1, *depth.shape[-2:]).float()
    if depth.shape[-2:] != clean.shape[-2:]:
        raise UsageError(f"depth of size {tuple(depth.shape[-2:])} for a picture of {tuple(clean.shape[-2:])}")
    known = depth > 0
    if not known.any():
        raise UsageError("depth is 0 (unknown) everywhere")
    depth = (depth / farthest(depth)).clamp(max=1)
    if known.all():
        return depth
    total, count = depth * known, known.float()
    filled = total.sum().div(count.sum()).expand_as(depth)
    # From coarse to fine: each pixel takes the smallest neighbourhood in which something is known.
    for radius in (64, 24, 8, 3):
        share = box_mean(count, radius)
        filled = torch.where(share > 0.02, box_mean(total, radius) / share.clamp(min=1e-6), filled)
    return torch.where(known, depth, filled)


def fractal(height: int, width: int, generator: torch.Generator, power: float) -> Tensor:
    """(1, height, width) in 0..1: Gaussian noise whose amplitude falls with frequency as 1/f^power."""
    rows, columns = height + height % 2, width + width % 2
    noise = torch.randn(rows, columns, generator=generator, device=generator.device).cpu()
    frequency = torch.fft.fftfreq(rows)[:, None] ** 2 + torch.fft.rfftfreq(columns)[None] ** 2
    frequency[0, 0] = math.inf
    field: Tensor = torch.fft.irfft2(torch.fft.rfft2(noise) * frequency ** (-power / 2), s=(rows, columns))
    return _stretch(field[None, :height, :width])


def made_depth(clean: Tensor, generator: torch.Generator) -> Tensor:
    """(1, H, W) in 0..1, a depth that could be the picture's: ground up to a horizon, objects standing on it, clouds.

    The parts are mixed at random weights, then a guided filter moves their edges onto those of the photograph. A bright
    smooth region at the top edge is taken for sky and put at 1. Large pictures are worked out at 384 pixels first.
    """
    grey = clean.mean(dim=0, keepdim=True).cpu()
    shrink = min(1.0, 384 / max(grey.shape[-2:]))
    size = [max(8, round(side * shrink)) for side in grey.shape[-2:]]
    small = F.interpolate(clean[None].cpu(), size=size, mode="area")[0] if shrink < 1 else clean.cpu()
    ground = _ramp(small.shape[-2], small.shape[-1], generator)
    objects = _objects(small, ground, generator)
    clouds = fractal(small.shape[-2], small.shape[-1], generator, uniform(generator, 1.5, 2.5))
    # Gamma(shape 1) variates divided by their sum are Dirichlet; clouds of their own are rare in nature.
    lots = -torch.rand(3, generator=generator, device=generator.device).cpu().clamp(min=1e-6).log()
    share = lots * torch.tensor([1.0, 1.0, 0.3])
    mixed = (share.view(3, 1, 1) * torch.cat([ground, objects, clouds])).sum(dim=0, keepdim=True) / share.sum()
    if shrink < 1:
        mixed = F.interpolate(mixed[None], size=grey.shape[-2:], mode="bilinear", align_corners=False)[0]
    radius = round(integer(generator, 6, 24) / shrink)
    depth = _stretch(guided_filter(grey, mixed, radius, 10 ** uniform(generator, -4, -2.5)))
    depth = (uniform(generator, 0.02, 0.25) + depth).div_(1.25).clamp_(max=1) ** uniform(generator, 0.7, 1.5)
    if chance(generator, 0.7):
        depth = torch.maximum(depth, _bright_above(grey))
    return depth.to(clean.device)


def _stretch(field: Tensor) -> Tensor:
    low, high = field.min(), field.max()
    return (field - low) / (high - low).clamp(min=1e-6)


def _ramp(height: int, width: int, generator: torch.Generator) -> Tensor:
    """Near at the bottom, farthest at and above a slightly tilted horizon 20-60 % from the top."""
    horizon, tilt = uniform(generator, 0.2, 0.6), uniform(generator, -0.15, 0.15)
    y, x = torch.linspace(0, 1, height)[:, None], torch.linspace(-0.5, 0.5, width)[None]
    below = ((y - horizon - tilt * x) / (1 - horizon)).clamp(0, 1)
    # A flat ground lies at a distance proportional to 1 / (rows below the horizon).
    return (1 / (1 + uniform(generator, 2, 10) * below))[None]


def _objects(clean: Tensor, ground: Tensor, generator: torch.Generator) -> Tensor:
    """Regions of like colour and place, each as far away as the ground under it on average, give or take."""
    height, width = clean.shape[-2:]
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    features = torch.cat([x[None], y[None], uniform(generator, 1, 4) * clean]).reshape(clean.shape[0] + 2, -1).T
    count = integer(generator, 5, 24)
    middles = features[
        torch.randint(0, features.shape[0], (count,), generator=generator, device=generator.device).cpu()
    ]
    region = torch.cdist(features, middles).argmin(dim=1)
    sums = torch.zeros(2, count).index_add_(1, region, torch.stack([ground.reshape(-1), torch.ones(height * width)]))
    offset = uniform(generator, 0, 0.25) * torch.randn(count, generator=generator, device=generator.device).cpu()
    return _stretch((sums[0] / sums[1].clamp(min=1) + offset)[region].view(1, height, width))


def _bright_above(grey: Tensor) -> Tensor:
    """1 where the picture is bright and smooth without a break from the top edge down, soft at its border, 0 else."""
    smooth = F.avg_pool2d((grey - F.avg_pool2d(grey, 3, 1, 1)).abs(), 5, 1, 2) < 0.015
    open_above = ((grey > 0.6) & smooth).float().cumprod(dim=-2)
    return F.avg_pool2d(open_above, 5, 1, 2)


def sky(clean: Tensor) -> Tensor:
    """(1, H, W): 1 where a (C, H, W) picture is smooth and blue or white from its top edge down, else 0."""
    shrink = min(1.0, 200 / max(clean.shape[-2:]))
    size = [max(1, round(side * shrink)) for side in clean.shape[-2:]]
    small = F.interpolate(clean[None], size, mode="bicubic", antialias=True, align_corners=False)[0].clamp(0, 1)
    grey, padded = small.mean(0), F.pad(small.mean(0)[None, None], (1,) * 4, mode="replicate")
    smooth = _near((grey - F.avg_pool2d(padded, 3, 1)[0, 0]).abs()) < 0.02
    red, green, blue = small.expand(3, -1, -1)
    bluish = (blue > red - 0.02) & (blue > green - 0.03) & (grey > 0.4)
    white = (small.amin(0) > 0.6) & (small.amax(0) - small.amin(0) < 0.15)
    free = (_near((smooth & (bluish | white)).float()) > 0.5).float().cumprod(dim=0)
    return F.interpolate(free[None, None], clean.shape[-2:], mode="bilinear", align_corners=False)[0]


def _near(plane: Tensor) -> Tensor:
    """Means of 5 x 5 places."""
    return F.avg_pool2d(F.pad(plane[None, None], (2,) * 4, mode="replicate"), 5, 1)[0, 0]
