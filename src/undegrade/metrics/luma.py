"""The one-channel pictures that scores are taken on: MATLAB's luma, its odd relatives, and OpenCV's grey.

All take (3, H, W) RGB in 0..1 and give (1, H, W) in units where 1 is level 255.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from undegrade.metrics.protocol import Colour
from undegrade.ops.colour import luma

__all__ = ["LUMAS", "grey_opencv", "luma_rounded", "luma_swapped"]


def luma_rounded(rgb: Tensor) -> Tensor:
    """Studio-swing luma rounded to 8 bits: what ``rgb2ycbcr`` gives for a picture of bytes."""
    return (255.0 * luma(rgb)).round() / 255.0


def luma_swapped(rgb: Tensor) -> Tensor:
    """Luma of a picture read in BGR order and not swapped: the weights of red and blue change places."""
    return luma(rgb.flip(0))


def grey_opencv(rgb: Tensor) -> Tensor:
    """Full-range grey rounded to 8 bits, as OpenCV reads a colour file as grey: 0.299 R + 0.587 G + 0.114 B."""
    grey = 0.299 * rgb[0:1] + 0.587 * rgb[1:2] + 0.114 * rgb[2:3]
    return (255.0 * grey).round() / 255.0


LUMAS: dict[Colour, Callable[[Tensor], Tensor]] = {
    "y-studio": luma,
    "y-studio-8bit": luma_rounded,
    "y-studio-swapped": luma_swapped,
    "grey-8bit": grey_opencv,
}
"""Ways from RGB to one channel, by the name that a `Protocol` gives as its colour space."""
