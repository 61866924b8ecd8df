"""Measures of a crop: plain statistics in which noise, blocks, blur and weather show; the eye of the classifier."""

from __future__ import annotations

import math
from functools import cache, reduce
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["MEASURES", "WHOLE", "measures", "whole"]

MEASURES = 628
"""Numbers for each picture."""
WHOLE = 107
"""Numbers more for a view of the whole."""

_TINY = 1e-4
_ANGLES = (-40, -20, 0, 20, 40)
"""Degrees from the vertical in which rain is looked for."""
_LINE = 11
"""Length of a streak in pixels."""


def measures(pictures: Tensor) -> Tensor:
    """(N, MEASURES) statistics of (N, 3, S, S) pictures in 0..1, S at least 96 and divisible by 32."""
    grey, low = pictures.mean(dim=1, keepdim=True), pictures.amin(dim=1, keepdim=True)
    return torch.cat(
        [
            _noise(pictures, grey),
            _slopes(grey),
            _edges(grey),
            _spectrum(grey),
            _grain(low),
            _streaks(low),
            _spots(grey),
            _white(low),
            _colours(pictures, grey),
            _bands(grey),
            _blocks(grey),
            _peaks(low),
            _peaks(grey),
            _by_darkness(pictures, grey),
            _sharpness(grey),
            _lonely(low),
            _blurred_again(grey),
        ],
        dim=1,
    )


def whole(views: Tensor) -> Tensor:
    """(N, WHOLE) of (N, 3, V, V) in 0..1, V at least 96: what else tells of weather where all of a picture is seen."""
    grey, low = views.mean(dim=1, keepdim=True), views.amin(dim=1, keepdim=True)
    return torch.cat([_peaks(low), _sharpness(grey), _lonely(low), _airlight(views)], dim=1)


def _statistics(maps: Tensor) -> Tensor:
    """(N, 6 C) of (N, C, H, W): mean magnitude, RMS over it, skewness; magnitude in calm, usual and busy places.

    Places are of 8 x 8 pixels. All but the skewness, which is taken around zero, are logarithms.
    """
    size = maps.abs().mean(dim=(2, 3)) + _TINY
    root = maps.square().mean(dim=(2, 3)).sqrt() + _TINY
    skew = (maps * maps * maps).mean(dim=(2, 3)) / root**3
    places = F.avg_pool2d(maps.abs(), 8).flatten(2).sort(dim=2).values + _TINY
    ranks = [int(share * (places.shape[2] - 1)) for share in (0.1, 0.5, 0.9)]
    return torch.cat([size.log(), (root / size).log(), skew.clamp(-8, 8), places[..., ranks].log().flatten(1)], dim=1)


def _tails(maps: Tensor) -> Tensor:
    """(N, 5 C) of (N, C, H, W): the median, and where the highest and lowest 0.1 % and 1 % begin.

    In units of the width that the middle 68 % have.
    """
    flat = maps.flatten(2)
    some = flat.shape[2] // 100
    high, low = flat.topk(some, dim=2).values, -(-flat).topk(some, dim=2).values
    usual = flat[..., ::7].sort(dim=2).values
    left, middle, right = (usual[..., int(share * usual.shape[2])] for share in (0.16, 0.5, 0.84))
    values = torch.stack([high[..., some // 10], high[..., -1], low[..., some // 10], low[..., -1], middle], dim=-1)
    return (values / (right - left + 0.002)[..., None]).clamp(-20, 20).flatten(1)


def _noise(pictures: Tensor, grey: Tensor) -> Tensor:
    """What is left when planes and edges are taken out (Immerkaer's operator), of brightness and two colours.

    At half the size as well, where the coarse grain is that a camera's software leaves.
    """
    colours = torch.cat([grey, pictures[:, :1] - pictures[:, 1:2], pictures[:, 2:] - pictures[:, 1:2]], dim=1)
    sizes = (colours, F.avg_pool2d(colours, 2))
    return torch.cat([_statistics(size.diff(n=2, dim=2).diff(n=2, dim=3) / 6) for size in sizes], dim=1)


def _slopes(grey: Tensor) -> Tensor:
    """Differences in four directions at four resolutions: where blur ends, and in which direction."""
    found = []
    for _ in range(4):
        a, b, c, d = grey[..., :-1, :-1], grey[..., :-1, 1:], grey[..., 1:, :-1], grey[..., 1:, 1:]
        found.append(_statistics(torch.cat([b - a, c - a, (d - a) * 0.7, (c - b) * 0.7], dim=1)))
        grey = F.avg_pool2d(grey, 2)
    return torch.cat(found, dim=1)


def _edges(grey: Tensor) -> Tensor:
    """How much of the contrast along short lines its steepest step holds, where contrast is largest.

    Much of it in a sharp picture, little in a blurred one; motion takes it in one direction, a lens in all.
    """
    found = []
    for plane in (grey, grey.transpose(2, 3), _diagonals(grey), _diagonals(grey.flip(3))):
        step = (plane[..., 1:] - plane[..., :-1]).abs()
        for reach in (4, 10):
            window = (1, reach + 1)
            contrast = F.max_pool2d(plane, window, (2, 2)) + F.max_pool2d(-plane, window, (2, 2))
            steepest = F.max_pool2d(step, (1, reach), (2, 2))[..., : contrast.shape[3]]
            most, where = contrast.flatten(1).topk(contrast[0].numel() // 10, dim=1)
            ratio = (steepest.flatten(1).gather(1, where) / (most + 0.02)).sort(dim=1).values
            found += [ratio[:, int(share * (ratio.shape[1] - 1))] for share in (0.1, 0.5, 0.9)]
    return torch.stack(found, dim=1)


def _diagonals(plane: Tensor) -> Tensor:
    """(N, 2, S / 2 + 1, S / 2): a parallelogram in each half of (N, 1, S, S), so that its diagonals become rows."""
    count, _, side, _ = plane.shape
    half = side // 2
    strides = (side * side, half * side, 1, side + 1)
    return plane.contiguous().as_strided((count, 2, half + 1, half), strides)


@cache
def _sectors(side: int) -> Tensor:
    """(32, F): which waves belong to which of eight lengths and four directions; shares of each that add up to 1."""
    y, x = torch.meshgrid(
        torch.fft.fftfreq(side, dtype=torch.float32), torch.fft.rfftfreq(side, dtype=torch.float32), indexing="ij"
    )
    ring = (torch.hypot(y, x) * 16).long().clamp(max=7)
    turn = ((torch.atan2(y, x) / math.pi * 4 + 0.5).floor() % 4).long()
    sectors = F.one_hot((ring * 4 + turn).flatten(), 32).T.float()
    return sectors / sectors.sum(dim=1, keepdim=True)


def _spectrum(grey: Tensor) -> Tensor:
    """Power of waves of eight lengths and four directions: what blur takes, noise fills, streaks line up."""
    side = grey.shape[-1]
    fade = torch.hann_window(side, periodic=False, dtype=grey.dtype)
    waves = torch.fft.rfft2((grey - grey.mean(dim=(2, 3), keepdim=True)) * fade * fade[:, None], norm="ortho")
    power: Tensor = waves.abs().square().flatten(1) @ _sectors(side).T
    return (power + _TINY**2).log()


def _grain(plane: Tensor) -> Tensor:
    """How much the slopes within small places agree on a direction, and on which, at three resolutions."""
    found = []
    for place in (8, 6, 4):
        right = plane[..., :-1, 1:] - plane[..., :-1, :-1]
        down = plane[..., 1:, :-1] - plane[..., :-1, :-1]
        across, along, both = (F.avg_pool2d(part, place) for part in (right * right, down * down, right * down))
        size = across + along + 1e-6
        cosine, sine = (across - along) / size, 2 * both / size
        agreement = torch.hypot(cosine, sine).flatten(1).sort(dim=1).values
        found += [agreement[:, int(share * (agreement.shape[1] - 1))] for share in (0.1, 0.5, 0.9)]
        middle = [part.mean(dim=(1, 2, 3)) for part in (cosine, sine)]
        found += [*middle, torch.hypot(*middle)]
        plane = F.avg_pool2d(plane, 2)
    return torch.stack(found, dim=1)


@cache
def _lines() -> Tensor:
    """(5, 1, L, L): mean along a line, less the mean of its surroundings."""
    reach = _LINE // 2
    reaches = torch.arange(-reach, reach + 1, dtype=torch.float32)
    y, x = torch.meshgrid(reaches, reaches, indexing="ij")
    kernels = []
    for angle in _ANGLES:
        turn = math.radians(angle)
        across = (x * math.cos(turn) - y * math.sin(turn)).abs()
        along = (y * math.cos(turn) + x * math.sin(turn)).abs() <= reach
        line = (1.2 - across).clamp(0, 1) * along
        sides = ((across > 1.5) & (across < 4.5) & along).float()
        kernels.append(line / line.sum() - sides / sides.sum())
    return torch.stack(kernels)[:, None]


def _streaks(low: Tensor) -> Tensor:
    """Lines near the vertical, fine and coarse, in the darkest channel: streaks lift it, coloured things do not."""
    sizes = [F.conv2d(plane, _lines()) for plane in (low, F.avg_pool2d(low, 2))]
    return torch.cat([statistics(size) for size in sizes for statistics in (_statistics, _tails)], dim=1)


def _blobs(plane: Tensor) -> Tensor:
    """(N, 3, S, S): what is brighter or darker than its surroundings, at three sizes."""
    means = [plane]
    for side in (3, 7, 15):
        rows = F.avg_pool2d(plane, (1, side), 1, (0, side // 2), count_include_pad=False)
        means.append(F.avg_pool2d(rows, (side, 1), 1, (side // 2, 0), count_include_pad=False))
    return torch.cat([small - large for small, large in pairwise(means)], dim=1)


def _spots(grey: Tensor) -> Tensor:
    """Bright and dark blobs."""
    return _statistics(_blobs(grey))


def _white(low: Tensor) -> Tensor:
    """Blobs in the darkest channel, which flakes and drops lift."""
    blobs = _blobs(low)
    return torch.cat([_statistics(blobs), _tails(blobs)], dim=1)


def _colours(pictures: Tensor, grey: Tensor) -> Tensor:
    """Brightness, contrast, saturation, and the darkest channel nearby, which haze lifts."""
    low, high = pictures.amin(dim=1, keepdim=True), pictures.amax(dim=1, keepdim=True)
    dark, vivid = _darkest(pictures, 15, 8), (high - low) / high.clamp(min=0.02)
    found = [grey.mean(dim=(2, 3)), grey.std(dim=(2, 3)), vivid.mean(dim=(2, 3)), vivid.std(dim=(2, 3))]
    for plane in (dark, F.avg_pool2d(grey, 4), F.avg_pool2d(vivid, 4)):
        ordered = plane.flatten(1).sort(dim=1).values
        found.append(ordered[:, [int(share * (ordered.shape[1] - 1)) for share in (0.02, 0.25, 0.5, 0.75, 0.98)]])
    bands = torch.cat([grey, low, high - low], dim=1).mean(dim=3)
    return torch.cat([*found, F.adaptive_avg_pool1d(bands, 3).flatten(1)], dim=1)


def _fine(plane: Tensor, side: int) -> Tensor:
    """What differs from the mean nearby."""
    return plane - F.avg_pool2d(plane, side, 1, side // 2, count_include_pad=False)


def _bands(grey: Tensor) -> Tensor:
    """Fine contrast of the top, the middle and the bottom: haze takes it from what is far."""
    fine = _fine(grey, 5).square().mean(dim=3)
    return (F.adaptive_avg_pool1d(fine, 3).flatten(1) + _TINY**2).log()


@cache
def _waves() -> Tensor:
    """(64, 1, 8, 8): the cosine transform of JPEG."""
    place = torch.arange(8, dtype=torch.float32)
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


def _ring(plane: Tensor, reach: int) -> tuple[Tensor, Tensor, Tensor]:
    """How far each value lies above the highest of eight at this distance, and below the lowest; how far those differ.

    (N, 1, S - 2 reach, S - 2 reach) each.
    """
    side, slant = plane.shape[-1] - 2 * reach, max(1, round(0.7 * reach))
    straight = ((0, reach), (reach, 0), (0, -reach), (-reach, 0))
    turned = ((slant, slant), (slant, -slant), (-slant, slant), (-slant, -slant))
    around = [
        plane[..., reach + down : reach + down + side, reach + right : reach + right + side]
        for down, right in straight + turned
    ]
    middle, high, low = (
        plane[..., reach:-reach, reach:-reach],
        reduce(torch.maximum, around),
        reduce(torch.minimum, around),
    )
    return middle - high, low - middle, high - low


def _often(size: Tensor, limits: tuple[float, ...]) -> list[Tensor]:
    """For each limit (N,), how often it is passed, as a logarithm."""
    return [((size > limit).float().mean(dim=(1, 2, 3)) + _TINY).log() for limit in limits]


def _peaks(plane: Tensor) -> Tensor:
    """How many places are brighter than all around them, and darker: flakes and drops only make the bright ones."""
    found = []
    for size in (plane, F.avg_pool2d(plane, 2)):
        for reach in (2, 4):
            above, below, _ = _ring(size, reach)
            for far in (above, below):
                found += _often(far, (0.012, 0.03, 0.07, 0.15))
    return torch.stack(found, dim=1)


def _lonely(plane: Tensor) -> Tensor:
    """The same for large flakes, and, of any size, against how much the surroundings vary."""
    found = []
    for reach in (2, 3):
        above, below, _ = _ring(F.avg_pool2d(plane, 4), reach)
        for far in (above, below):
            found += _often(far, (0.012, 0.03, 0.07, 0.15))
    for size in (plane, F.avg_pool2d(plane, 2)):
        above, below, spread = _ring(size, 3)
        for far in (above, below):
            found += _often(far / (spread + 0.008), (0.3, 1, 3))
    return torch.stack(found, dim=1)


def _by_darkness(pictures: Tensor, grey: Tensor) -> Tensor:
    """What contrast, colour and height go with dark places and with bright ones: haze lifts and greys what is far up.

    Places of 8 x 8 pixels are ordered by their darkest channel, then by their contrast; each sixth has its means.
    """
    low, high = pictures.amin(dim=1, keepdim=True), pictures.amax(dim=1, keepdim=True)
    contrast = (F.avg_pool2d(_fine(grey, 3).abs(), 8) + 10 * _TINY).log()
    vivid = F.avg_pool2d((high - low) / high.clamp(min=0.02), 8)
    bright, blue = F.avg_pool2d(grey, 8), F.avg_pool2d(pictures[:, 2:] - pictures[:, :1], 8)
    dark = -F.max_pool2d(-low, 8)
    height = torch.linspace(0, 1, dark.shape[2], dtype=dark.dtype)[:, None].expand_as(dark)
    found = []
    for order, planes in (
        (dark, (contrast, vivid, bright, blue, height, dark)),
        (contrast, (dark, vivid, height, contrast)),
    ):
        rank = order.flatten(1).argsort(dim=1)
        found += [F.adaptive_avg_pool1d(plane.flatten(1).gather(1, rank)[:, None], 6)[:, 0] for plane in planes]
    rows = torch.cat([contrast, dark, vivid], dim=1).mean(dim=3)
    return torch.cat([*found, F.adaptive_avg_pool1d(rows, 6).flatten(1)], dim=1)


def _sharpness(grey: Tensor) -> Tensor:
    """How much of the steepest step at one resolution is left at the next finer, in the places of highest contrast."""
    steepest = []
    for _ in range(4):
        across, along = (grey.diff(dim=dim).abs() for dim in (3, 2))
        most = torch.maximum(F.adaptive_max_pool2d(across, 12), F.adaptive_max_pool2d(along, 12))
        steepest.append(most.flatten(1) + 0.004)
        grey = F.avg_pool2d(grey, 2)
    where = steepest[3].argsort(dim=1)[:, -72:]
    found = []
    for fine, coarse in ((0, 1), (1, 2), (2, 3), (0, 3)):
        ratio = (steepest[fine] / steepest[coarse]).log().gather(1, where).sort(dim=1).values
        found.append(ratio[:, [3, 14, 36, 57, 68]])
    return torch.cat(found, dim=1)


def _blurred_again(grey: Tensor) -> Tensor:
    """How much of the steps a further blur takes, on the whole and where there are most: little in a blurred picture.

    Crete et al., "The blur effect: perception and estimation with a new no-reference perceptual blur metric" (2007).
    """
    found = []
    for plane in (grey, grey.transpose(2, 3)):
        step = plane.diff(dim=3).abs()
        for side in (3, 9):
            blurred = F.avg_pool2d(plane, (1, side), 1, (0, side // 2), count_include_pad=False)
            taken = (step - blurred.diff(dim=3).abs()).clamp(min=0)
            found.append((taken.sum(dim=(1, 2, 3)) / (step.sum(dim=(1, 2, 3)) + 0.01))[:, None])
            places = F.adaptive_avg_pool2d(step, 8).flatten(1)
            share = F.adaptive_avg_pool2d(taken, 8).flatten(1) / (places + 10 * _TINY)
            busy = share.gather(1, places.topk(40, dim=1).indices).sort(dim=1).values
            found.append(busy[:, [2, 10, 20, 30, 37]])
    return torch.cat(found, dim=1)


def _airlight(views: Tensor) -> Tensor:
    """The colour of the haziest places, what the dark channel prior says comes through it, and where.

    He, Sun and Tang, "Single image haze removal using dark channel prior" (2009).
    """
    dark = _darkest(views, 7)
    small = F.avg_pool2d(views, 7, 4, 3, count_include_pad=False)
    top = dark.flatten(1).topk(dark[0].numel() // 20, dim=1).indices
    light = small.flatten(2).gather(2, top[:, None].expand(-1, 3, -1)).mean(dim=2)
    lit = views / light[..., None, None].clamp(min=0.1)
    through, wide = 1 - _darkest(lit, 7), 1 - _darkest(lit, 21, 8)
    ordered = through.flatten(1).sort(dim=1).values
    ranks = [int(share * (ordered.shape[1] - 1)) for share in (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)]
    grey = views.mean(dim=1, keepdim=True)
    contrast = (F.avg_pool2d(_fine(grey, 5).abs(), 7, 4, 3, count_include_pad=False) + 20 * _TINY).log()
    height = torch.linspace(0, 1, through.shape[2], dtype=through.dtype)[:, None].expand_as(through)
    vivid = small.amax(dim=1, keepdim=True) - small.amin(dim=1, keepdim=True)
    pairs = ((contrast, through), (height, through), (vivid, through), (height, contrast))
    return torch.cat(
        [
            light,
            light.amax(dim=1, keepdim=True) - light.amin(dim=1, keepdim=True),
            ordered[:, ranks],
            F.adaptive_avg_pool1d(through.mean(dim=3), 6)[:, 0],
            F.adaptive_avg_pool1d(wide.amax(dim=3), 6)[:, 0],
            *(_agreement(one, other) for one, other in pairs),
        ],
        dim=1,
    )


def _darkest(pictures: Tensor, side: int, step: int = 4) -> Tensor:
    """The darkest channel of the darkest pixel in places of this side."""
    return -F.max_pool2d(-pictures.amin(dim=1, keepdim=True), side, step, side // 2)


def _agreement(one: Tensor, other: Tensor) -> Tensor:
    """(N, 1) correlation of two planes."""
    one, other = (plane.flatten(1) - plane.flatten(1).mean(dim=1, keepdim=True) for plane in (one, other))
    power = one.square().mean(dim=1) * other.square().mean(dim=1)
    return ((one * other).mean(dim=1) / (power + 1e-8).sqrt())[:, None]
