"""Bayer colour filter arrays: the four phases, zero-filled and one-channel mosaics."""

from __future__ import annotations

import torch
from torch import Tensor

from undegrade.core.errors import InputError, UnknownNameError, UsageError

__all__ = ["PATTERNS", "from_single", "masks", "mosaic", "single", "zero_filled"]

PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")


def masks(height: int, width: int, pattern: str = "RGGB", device: torch.device | None = None) -> Tensor:
    """(3, height, width) of ones where red, green and blue are sampled.

    ``pattern`` names the colours of the first two rows, two each: RGGB has red at the even rows and columns.

    Raises:
        UnknownNameError: not one of the four patterns.
    """
    if str(pattern).upper() not in PATTERNS:
        raise UnknownNameError("Bayer pattern", str(pattern), PATTERNS)
    sampled = torch.zeros(3, height, width, device=device)
    for position, colour in enumerate(pattern.upper()):
        sampled["RGB".index(colour), position // 2 :: 2, position % 2 :: 2] = 1
    return sampled


def mosaic(picture: Tensor, pattern: str = "RGGB") -> Tensor:
    """(..., 3, H, W) with zeros where the sensor did not sample the colour.

    Raises:
        InputError: another number of channels.
        UnknownNameError: as ``masks``.
    """
    if picture.shape[-3] != 3:
        raise InputError(f"{picture.shape[-3]} channels: a mosaic is made of a colour picture with 3")
    return picture * masks(picture.shape[-2], picture.shape[-1], pattern, picture.device)


def single(picture: Tensor, pattern: str = "RGGB") -> Tensor:
    """(..., 3, H, W) to the one-channel raw mosaic (..., 1, H, W).

    Raises:
        InputError, UnknownNameError: as ``mosaic``.
    """
    return mosaic(picture, pattern).sum(dim=-3, keepdim=True)


def from_single(raw: Tensor, pattern: str = "RGGB") -> Tensor:
    """The one-channel raw mosaic (..., 1, H, W) to the zero-filled (..., 3, H, W).

    Raises:
        UsageError: another number of channels.
        UnknownNameError: as ``masks``.
    """
    if raw.shape[-3] != 1:
        raise UsageError(f"{raw.shape[-3]} channels: a raw mosaic has one")
    return raw * masks(raw.shape[-2], raw.shape[-1], pattern, raw.device)


def zero_filled(picture: Tensor) -> bool:
    """Whether a (..., 3, H, W) picture is zero wherever a sensor of one of the four patterns sees nothing."""
    height, width = picture.shape[-2:]
    return any(not picture[..., masks(height, width, pattern) == 0].any() for pattern in PATTERNS)
