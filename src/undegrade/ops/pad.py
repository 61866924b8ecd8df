"""Padding by mirroring or repeating, any amount on every side."""

from __future__ import annotations

import torch
from torch import Tensor

from undegrade.core.errors import UnknownNameError

__all__ = ["MODES", "pad"]

MODES = ("reflect", "symmetric", "edge")


def _source(length: int, before: int, after: int, mode: str, device: torch.device) -> Tensor:
    """For each sample of the padded axis, the sample it repeats. Any amount, however short the axis."""
    index = torch.arange(-before, length + after, device=device)
    if mode == "edge" or length == 1:
        return index.clamp(0, length - 1)
    period = 2 * length - 2 if mode == "reflect" else 2 * length
    index = index % period
    return torch.where(index < length, index, (period if mode == "reflect" else period - 1) - index)


def pad(picture: Tensor, amounts: tuple[int, int, int, int], mode: str = "reflect") -> Tensor:
    """(..., H, W) with pixels added on each side.

    Args:
        picture: any tensor whose last two axes are rows and columns.
        amounts: pixels to add on the left, right, top and bottom, 0 or more, also more than the picture has.
        mode: ``"reflect"`` mirrors without repeating the edge (keeps the phase of a Bayer pattern), ``"symmetric"``
            repeats it, ``"edge"`` continues the outermost pixel.

    Raises:
        UnknownNameError: another mode.
    """
    if mode not in MODES:
        raise UnknownNameError("padding", mode, MODES)
    left, right, top, bottom = amounts
    height, width = picture.shape[-2:]
    if top or bottom:
        picture = picture.index_select(-2, _source(height, top, bottom, mode, picture.device))
    if left or right:
        picture = picture.index_select(-1, _source(width, left, right, mode, picture.device))
    return picture
