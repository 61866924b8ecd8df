"""The greys that scores are taken on: MATLAB's studio-swing luma, OpenCV's grey, and their odd relatives.

All take (3, H, W) RGB in 0..1 and give (1, H, W) in units where 1 is level 255.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["LUMAS", "grey_opencv", "luma_studio", "luma_studio_swapped"]


def luma_studio(rgb: Tensor) -> Tensor:
    """Y of BT.601 with 16..235 swing, as MATLAB's ``rgb2ycbcr``: Y = 16 + 65.481 R + 128.553 G + 24.966 B."""
    return _weighted(rgb, 65.481, 128.553, 24.966) / 255.0 + 16.0 / 255.0


def luma_studio_swapped(rgb: Tensor) -> Tensor:
    """`luma_studio` of a picture read in BGR order and not swapped: the weights of red and blue change places."""
    return luma_studio(rgb.flip(0))


def grey_opencv(rgb: Tensor) -> Tensor:
    """Full-range grey rounded to 8 bits, as OpenCV reads a colour file as grey: 0.299 R + 0.587 G + 0.114 B."""
    return (255.0 * _weighted(rgb, 0.299, 0.587, 0.114)).round() / 255.0


def _weighted(rgb: Tensor, red: float, green: float, blue: float) -> Tensor:
    return red * rgb[0:1] + green * rgb[1:2] + blue * rgb[2:3]


LUMAS = {
    "y-studio": luma_studio,
    "y-studio-8bit": lambda rgb: (255.0 * luma_studio(rgb)).round() / 255.0,
    "y-studio-swapped": luma_studio_swapped,
    "grey-8bit": grey_opencv,
}
"""Ways from RGB to one channel, by the name that a `Protocol` gives as its colour space."""
