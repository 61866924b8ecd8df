"""Measures of a crop: plain statistics in which noise, blocks, blur and weather show; the classifier's other eye."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["MEASURES", "measures"]

MEASURES = 236
"""Numbers for each picture."""

_TINY = 1e-4
_ANGLES = (-40, -20, 0, 20, 40)
"""Degrees from the vertical in which rain is looked for."""
_LINE = 11
"""Length of a streak in pixels."""


def measures(pictures: Tensor) -> Tensor:
    """(N, MEASURES) statistics of (N, 3, S, S) pictures in 0..1, S at least 96 and divisible by 32."""
    grey = pictures.mean(dim=1, keepdim=True)
    return torch.cat(
        [_noise(pictures, grey), _slopes(grey), _streaks(grey), _spots(grey), _colours(pictures, grey), _blocks(grey)],
        dim=1,
    )


def _told(maps: Tensor) -> Tensor:
    """(N, 6 C) of (N, C, H, W): size, peakedness and lopsidedness of the values; size in calm and busy places."""
    size = maps.abs().mean(dim=(2, 3)) + _TINY
    root = maps.square().mean(dim=(2, 3)).sqrt() + _TINY
    lop = (maps * maps * maps).mean(dim=(2, 3)) / root**3
    places = F.avg_pool2d(maps.abs(), 8).flatten(2).sort(dim=2).values + _TINY
    ranks = [int(share * (places.shape[2] - 1)) for share in (0.1, 0.5, 0.9)]
    return torch.cat([size.log(), (root / size).log(), lop.clamp(-8, 8), places[..., ranks].log().flatten(1)], dim=1)


def _noise(pictures: Tensor, grey: Tensor) -> Tensor:
    """What is left when planes and edges are taken out (Immerkaer's operator), of brightness and two colours."""
    colours = torch.cat([grey, pictures[:, :1] - pictures[:, 1:2], pictures[:, 2:] - pictures[:, 1:2]], dim=1)
    weight = torch.tensor([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6
    return _told(F.conv2d(colours, weight.expand(3, 1, 3, 3), groups=3))


def _slopes(grey: Tensor) -> Tensor:
    """Differences in four directions at four resolutions: where blur ends, and in which direction."""
    found = []
    for _ in range(4):
        a, b, c, d = grey[..., :-1, :-1], grey[..., :-1, 1:], grey[..., 1:, :-1], grey[..., 1:, 1:]
        found.append(_told(torch.cat([b - a, c - a, (d - a) * 0.7, (c - b) * 0.7], dim=1)))
        grey = F.avg_pool2d(grey, 2)
    return torch.cat(found, dim=1)


@cache
def _lines() -> Tensor:
    """(5, 1, L, L): mean along a line, less the mean of its surroundings."""
    reach = _LINE // 2
    y, x = torch.meshgrid(torch.arange(-reach, reach + 1.0), torch.arange(-reach, reach + 1.0), indexing="ij")
    kernels = []
    for angle in _ANGLES:
        turn = math.radians(angle)
        across = (x * math.cos(turn) - y * math.sin(turn)).abs()
        along = (y * math.cos(turn) + x * math.sin(turn)).abs() <= reach
        line = (1.2 - across).clamp(0, 1) * along
        sides = ((across > 1.5) & (across < 4.5) & along).float()
        kernels.append(line / line.sum() - sides / sides.sum())
    return torch.stack(kernels)[:, None]


def _streaks(grey: Tensor) -> Tensor:
    """Bright lines near the vertical, fine and coarse ones."""
    fine, coarse = F.conv2d(grey, _lines()), F.conv2d(F.avg_pool2d(grey, 2), _lines())
    return torch.cat([_told(fine), _told(coarse)], dim=1)


def _spots(grey: Tensor) -> Tensor:
    """Bright and dark blobs of three sizes."""
    means = [grey] + [F.avg_pool2d(grey, side, 1, side // 2, count_include_pad=False) for side in (3, 7, 15)]
    return _told(torch.cat([small - large for small, large in pairwise(means)], dim=1))


def _colours(pictures: Tensor, grey: Tensor) -> Tensor:
    """Brightness, contrast, saturation, and the darkest channel nearby, which haze lifts."""
    low, high = pictures.amin(dim=1, keepdim=True), pictures.amax(dim=1, keepdim=True)
    dark = -F.max_pool2d(-low, 15, 8, 7)
    vivid = (high - low) / high.clamp(min=0.02)
    found = [grey.mean(dim=(2, 3)), grey.std(dim=(2, 3)), vivid.mean(dim=(2, 3)), vivid.std(dim=(2, 3))]
    for plane in (dark, F.avg_pool2d(grey, 4), F.avg_pool2d(vivid, 4)):
        ordered = plane.flatten(1).sort(dim=1).values
        found.append(ordered[:, [int(share * (ordered.shape[1] - 1)) for share in (0.02, 0.25, 0.5, 0.75, 0.98)]])
    bands = torch.cat([grey, low, high - low], dim=1).mean(dim=3)
    return torch.cat([*found, F.adaptive_avg_pool1d(bands, 3).flatten(1)], dim=1)


@cache
def _waves() -> Tensor:
    """(64, 1, 8, 8): the cosine transform of JPEG."""
    place = torch.arange(8.0)
    rows = torch.cos((2 * place[None] + 1) * place[:, None] * math.pi / 16) / 2
    rows[0] /= math.sqrt(2)
    return torch.einsum("ui,vj->uvij", rows, rows).reshape(64, 1, 8, 8)


def _blocks(grey: Tensor) -> Tensor:
    """Steps at the borders of 8 x 8 blocks against those within, and how many waves in a block were rounded away."""
    found = []
    for plane in (grey, grey.transpose(2, 3)):
        step = (plane[..., 1:] - plane[..., :-1]).abs()
        bend = F.pad((step[..., 1:-1] - (step[..., 2:] + step[..., :-2]) / 2), (1, 1))
        steps = F.pad(bend, (0, 1)).reshape(*plane.shape[:3], -1, 8).mean(dim=(1, 2, 3))
        phases = steps / (step.mean(dim=(1, 2, 3))[:, None] + _TINY)
        inner = phases[:, :7]
        found += [phases[:, 7:], inner.amax(dim=1, keepdim=True), inner.std(dim=1, keepdim=True)]
    waves = F.conv2d(grey * 255, _waves(), stride=8).abs().flatten(2)
    u, v = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    for low, high in ((1, 2), (3, 4), (5, 7), (8, 10), (11, 14)):
        some = waves[:, ((u + v >= low) & (u + v <= high)).flatten()]
        found += [(some < limit).float().mean(dim=(1, 2))[:, None] for limit in (0.5, 1.5)]
    return torch.cat(found, dim=1)
