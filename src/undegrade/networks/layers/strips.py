"""Filters along one axis with few taps and wide reach, as products with small matrices (CCNet).

A strip filter replaces every pixel by a weighted sum of k pixels of its row (or column), ``dilation`` apart, with the
picture reflected at its borders. One filter serves all channels of a picture, so a strip is a matrix over positions,
shared by all rows; two strips in a row are one matrix, which is zero outside a band around its diagonal.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Band", "band", "filter_profile"]

BLOCK = 64
"""Rows of the band that are multiplied at once. Smaller blocks meet fewer zeros, larger ones keep the cores busy."""


class Band(NamedTuple):
    """Rows ``start:stop`` of a matrix over positions, which are zero outside the columns ``first:last``.

    Attributes:
        rows: (B, stop - start, last - first), one matrix per picture of the batch.
    """

    start: int
    stop: int
    first: int
    last: int
    rows: Tensor


def positions(length: int, taps: int, dilation: int, device: torch.device) -> Tensor:
    """(taps, length): where tap t of a strip reads for output p; reflected at both ends as often as needed."""
    offsets = (torch.arange(taps, device=device) - taps // 2) * dilation
    period = max(2 * (length - 1), 1)
    index = (torch.arange(length, device=device) + offsets[:, None]) % period
    return torch.minimum(index, period - index)


def filter_profile(profile: Tensor, taps: Tensor, dilation: int) -> Tensor:
    """One strip over (B, C, length) with taps (B, k)."""
    index = positions(profile.shape[-1], taps.shape[-1], dilation, profile.device)
    return torch.einsum("bckn,bk->bcn", profile[..., index], taps)


def strip_matrix(taps: Tensor, dilation: int, length: int) -> Tensor:
    """(B, length, length): row p holds the weights of output p; taps (B, k)."""
    index = positions(length, taps.shape[-1], dilation, taps.device).T.expand(len(taps), -1, -1)
    zeros = taps.new_zeros(len(taps), length, length)
    return zeros.scatter_add(2, index, taps[:, None, :].expand_as(index))


def band(first: Tensor, second: Tensor, dilation: int, length: int) -> list[Band]:
    """The strip of ``first`` (dilation 1) followed by that of ``second`` (``dilation``), as blocks of their product.

    Args:
        first, second: taps, (B, k).
        dilation: of the second strip.
        length: number of positions.
    """
    reach = first.shape[-1] // 2 + dilation * (second.shape[-1] // 2)
    # Away from the borders all rows are alike: the matrix of a short axis holds every block of a longer one.
    short = min(length, 4 * BLOCK)
    matrix = strip_matrix(second, dilation, short) @ strip_matrix(first, 1, short)
    if length < 4 * BLOCK:
        return [Band(0, length, 0, length, matrix)]
    blocks = [Band(0, BLOCK, 0, BLOCK + reach, matrix[:, :BLOCK, : BLOCK + reach])]
    inner = matrix[:, BLOCK : 2 * BLOCK, BLOCK - reach : 2 * BLOCK + reach]
    last = length - BLOCK - length % BLOCK
    blocks += [Band(p, p + BLOCK, p - reach, p + BLOCK + reach, inner) for p in range(BLOCK, last, BLOCK)]
    rest = length - last
    blocks.append(Band(last, length, last - reach, length, matrix[:, short - rest :, short - rest - reach :]))
    return blocks
