"""The means of a whole picture, estimated on windows spread over it, for networks that are run on tiles."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from undegrade.inference.tiling import Plan
from undegrade.networks.layers.whole import Passes, using

__all__ = ["whole_picture_means"]

SIDE = 256
"""Of a window. Means shared by windows of 128 come out worse: more of a window is near its border."""

SHARE = 1 / 16
"""Of a large picture's pixels that the windows cover, memory permitting."""

ENOUGH = 1 << 20
"""Pixels that the windows of smaller pictures cover, memory permitting."""


def whole_picture_means(
    network: Callable[[Tensor], Tensor], x: Tensor, cut: Plan, least: int, batch_pixels: int, scale: int
) -> Passes:
    """Run ``network`` on a sample of a picture and keep the means that it met.

    Args:
        network: runs a batch of windows.
        x: the picture, (1, C, H, W).
        cut: its tiles.
        least: smallest side that the network takes.
        batch_pixels: how many pixels may run together. There are more windows than that only where it is less than
            four: within a batch every mean builds on shared means, between batches there is only an average.
        scale: by which the network enlarges. That hangs little on means and costs much, so the windows cover less by
            the square of it.

    Returns:
        The means for ``whole.using``; empty, so that each tile has its own, when the picture is too thin for windows.
    """
    height, width = (min(SIDE, length) // cut.multiple * cut.multiple for length in x.shape[-2:])
    if min(height, width) < max(least, cut.multiple):
        return Passes([])
    pixels = x.shape[-2] * x.shape[-1]
    covered = min(max(SHARE * pixels, ENOUGH) / scale**2, pixels, batch_pixels)
    wanted = max(4.0, covered / (height * width))
    rows = _count(math.sqrt(wanted * x.shape[-2] / x.shape[-1] * width / height), x.shape[-2] / height)
    columns = _count(wanted / rows, x.shape[-1] / width)
    places = [
        (top, left)
        for top in _spread(x.shape[-2] - height, rows, cut.multiple)
        for left in _spread(x.shape[-1] - width, columns, cut.multiple)
    ]
    batches = -(-len(places) // max(1, batch_pixels // (height * width)))
    records = []
    for number in range(batches):
        # Every so many-th window, so that each batch is spread over the picture.
        chosen = places[number::batches]
        with using(Passes()) as record:
            network(torch.cat([x[..., top : top + height, left : left + width] for top, left in chosen]))
        records.append((record, len(chosen)))
    return Passes.average(records)


def _count(wanted: float, most: float) -> int:
    return min(math.ceil(wanted), math.ceil(most))


def _spread(room: int, count: int, multiple: int) -> list[int]:
    """``count`` places from 0 to ``room``; a single one is in the middle."""
    if count == 1:
        return [room // 2 // multiple * multiple]
    return [room * number // (count - 1) // multiple * multiple for number in range(count)]
