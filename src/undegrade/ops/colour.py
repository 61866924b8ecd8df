"""Luma and chroma: the studio-swing Y of benchmarks and the full-range YCbCr of JPEG files."""

from __future__ import annotations

import torch
from torch import Tensor

from undegrade.core.errors import UsageError

__all__ = ["luma", "rgb_to_ycbcr", "ycbcr_to_rgb"]

_STUDIO = (65.481, 128.553, 24.966)  # BT.601, black at level 16, white at 235


def luma(picture: Tensor) -> Tensor:
    """The Y of BT.601 in studio swing, as Matlab's ``rgb2ycbcr`` gives it and benchmarks are scored on.

    Args:
        picture: (..., 3, H, W) in 0..1; a single channel is taken to be a luma already.

    Returns:
        (..., 1, H, W), 16/255 for black and 235/255 for white, not rounded.

    Raises:
        UsageError: neither one nor three channels.
    """
    channels = picture.shape[-3]
    if channels == 1:
        return picture
    if channels != 3:
        raise UsageError(f"{channels} channels have no luma: 1 or 3 are needed")
    red, green, blue = picture.unbind(-3)
    studio: Tensor = (16 + _STUDIO[0] * red + _STUDIO[1] * green + _STUDIO[2] * blue) / 255
    return studio.unsqueeze(-3)


def rgb_to_ycbcr(picture: Tensor) -> Tensor:
    """(..., 3, H, W) RGB in 0..1 to full-range BT.601 YCbCr as in JFIF, chroma centred at 0.5."""
    red, green, blue = picture.unbind(-3)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    return torch.stack([y, (blue - y) / 1.772 + 0.5, (red - y) / 1.402 + 0.5], dim=-3)


def ycbcr_to_rgb(picture: Tensor) -> Tensor:
    """The inverse of ``rgb_to_ycbcr``; not clipped."""
    y, cb, cr = picture.unbind(-3)
    red, blue = y + 1.402 * (cr - 0.5), y + 1.772 * (cb - 0.5)
    return torch.stack([red, (y - 0.299 * red - 0.114 * blue) / 0.587, blue], dim=-3)
