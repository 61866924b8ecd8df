"""Cutting a picture into overlapping tiles that fit into memory, and joining their results without seams.

A tile is run with a band of context around it. The band's outer part, where the network sees the cut, is thrown away;
over the last few pixels neighbouring tiles fade into each other. With context as wide as the network's receptive
radius the joined result equals the whole picture's. docs/tiling.md has the measured differences for each network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice, pairwise
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from undegrade.ops.pad import pad

__all__ = ["FADE", "Plan", "Span", "halved", "join", "plan", "spans"]

T = TypeVar("T")

FADE = 16
"""Pixels over which two tiles fade into each other."""


@dataclass(frozen=True)
class Plan:
    """How a picture is cut.

    Attributes:
        tile: height and width of a tile's core, what it contributes; the picture's own size when it is one piece.
        context: pixels around what a tile contributes that its network sees as well.
        multiple: tiles start and end at multiples of this.
    """

    tile: tuple[int, int]
    context: int
    multiple: int = 1


@dataclass(frozen=True)
class Span:
    """One tile along one axis: reads ``start:stop``, owns ``first:last``; ``fade`` pixels wide at inner borders."""

    start: int
    stop: int
    first: int
    last: int
    fade: int
    inner: tuple[bool, bool]


def plan(whole: Plan, needed: Callable[[int, int], int | None], budget: int, *, least: int = 64) -> Plan:
    """The largest tiles whose working memory stays within ``budget``; ``whole`` when it fits.

    Args:
        whole: the picture as one piece, padded.
        needed: working memory in bytes for an input of a given height and width; None when unknown.
        budget: bytes.
        least: smallest core side; taken even if it does not fit.
    """
    needs = needed(*whole.tile)
    if needs is None or needs <= budget:
        return whole
    # Memory grows about linearly with the pixels, with attention faster: start there, then shrink until it fits.
    multiple = whole.multiple
    band, least = 2 * _up(whole.context + FADE // 2, multiple) + multiple, _up(least, multiple)
    side = math.isqrt(int(whole.tile[0] * whole.tile[1] * budget / needs))
    while True:
        core = max(_down(side - band, multiple), least)
        needs = needed(*(min(core + band, length) for length in whole.tile))
        if core == least or needs is None or needs <= budget:
            return Plan((core, core), whole.context, multiple)
        side = int(side * 0.85)


def halved(cut: Plan, least: int) -> Plan | None:
    """The plan with cores of half the side, or None when they are as small as ``least`` already."""
    core = max(_up(max(cut.tile) // 2, cut.multiple), _up(least, cut.multiple))
    return None if core >= max(cut.tile) else Plan((core, core), cut.context, cut.multiple)


def spans(length: int, padded: int, core: int, cut: Plan) -> list[Span]:
    """The tiles along one axis: cores of about equal size that cover ``length`` pixels of ``padded``."""
    count = max(1, -(-length // core))
    inner = {_down(round(length * number / count), cut.multiple) for number in range(count)}
    borders = [*sorted(inner), length]
    fade = min(FADE, *(last - first for first, last in pairwise(borders)))
    reach = cut.context + -(-fade // 2)
    return [
        Span(
            start=max(0, _down(first - reach, cut.multiple)),
            stop=padded if last == length else min(padded, _up(last + reach, cut.multiple)),
            first=first,
            last=last,
            fade=fade,
            inner=(first > 0, last < length),
        )
        for first, last in pairwise(borders)
    ]


def join(
    run: Callable[[Tensor], Tensor],
    x: Tensor,
    cut: Plan,
    *,
    padded: tuple[int, int],
    mode: str = "reflect",
    scale: int = 1,
    progress: Callable[[int, int], None] | None = None,
    together: int = 1,
) -> Tensor:
    """Run a network tile by tile.

    Only one full-size tensor is made, the result; padding and fading happen per tile.

    Args:
        run: the network, (1, C, h, w) -> (1, C', scale * h, scale * w).
        x: (1, C, H, W), not padded.
        cut: the plan.
        padded: height and width of the picture once padded at the bottom and right, multiples of the plan's.
        mode: how the picture is padded, ``"zeros"`` or a mode of ``ops.pad``.
        scale: output size over input size.
        progress: called with (tiles done, tiles in all).
        together: how many tiles of one size run as a batch; ``run`` then gets (n, C, h, w).

    Returns:
        (1, C', scale * H, scale * W) on the device of ``x``.
    """
    height, width = (side * scale for side in x.shape[-2:])
    rows, columns = (
        spans(length, whole, core, cut) for length, whole, core in zip(x.shape[-2:], padded, cut.tile, strict=True)
    )
    tiles = [(row, column) for row in rows for column in columns]
    # Tiles of one size next to each other: most are of one size, those at the borders of a few others.
    tiles.sort(key=lambda tile: [span.stop - span.start for span in tile])
    out: Tensor | None = None
    done = 0
    for _, equal in groupby(tiles, key=lambda tile: [span.stop - span.start for span in tile]):
        for batch in _batches(equal, together):
            parts = [_cut(_cut(x, row, -2, mode), column, -1, mode) for row, column in batch]
            y = run(parts[0] if len(parts) == 1 else torch.cat(parts)).to(x.device)
            if len(tiles) == 1:
                out = y[..., :height, :width].clone(memory_format=torch.contiguous_format)
            else:
                out = x.new_zeros(1, y.shape[1], height, width) if out is None else out
                for result, (row, column) in zip(torch.split(y, 1), batch, strict=True):
                    _add(out, result, row, column, scale)
            done += len(batch)
            if progress:
                progress(done, len(tiles))
    assert out is not None
    return out


def _cut(x: Tensor, span: Span, dim: int, mode: str) -> Tensor:
    """What a tile sees along one axis; beyond the end of the picture it sees the whole picture's padding."""
    length = x.shape[dim]
    beyond = span.stop - length
    if beyond <= 0:
        return x.narrow(dim, span.start, span.stop - span.start)
    if mode == "zeros":
        part = x.narrow(dim, span.start, length - span.start)
        return F.pad(part, (0, beyond) if dim == -1 else (0, 0, 0, beyond))
    # Mirrored pixels may lie outside the tile, so they are looked up in the whole picture.
    sources = pad(torch.arange(length, device=x.device)[None], (0, beyond, 0, 0), mode)[0, span.start :]
    return x.index_select(dim, sources)


def _add(out: Tensor, y: Tensor, row: Span, column: Span, scale: int) -> None:
    """Add a tile's result to its place, weighted so that the weights of all tiles sum to one everywhere."""
    places, weights = zip(*(_share(span, scale, y) for span in (row, column)), strict=True)
    inside = [
        slice(place.start - span.start * scale, place.stop - span.start * scale)
        for place, span in zip(places, (row, column), strict=True)
    ]
    out[..., places[0], places[1]] += y[..., inside[0], inside[1]] * weights[0][:, None] * weights[1]


def _share(span: Span, scale: int, like: Tensor) -> tuple[slice, Tensor]:
    """Along one axis, the output pixels that a tile contributes to, and the weight of each."""
    fade, first, last = span.fade * scale, span.first * scale, span.last * scale
    half = -(-fade // 2)
    place = slice(first - half * span.inner[0], last + half * span.inner[1])
    centre = torch.arange(place.start, place.stop, device=like.device, dtype=like.dtype) + 0.5
    weight = torch.ones_like(centre)
    if span.inner[0]:
        weight = weight * ((centre - first) / fade + 0.5).clamp(0, 1)
    if span.inner[1]:
        weight = weight * ((last - centre) / fade + 0.5).clamp(0, 1)
    return place, weight


def _batches(tiles: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    rest = iter(tiles)
    while batch := tuple(islice(rest, size)):
        yield batch


def _down(value: int, multiple: int) -> int:
    return value // multiple * multiple


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
