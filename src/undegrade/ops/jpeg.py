"""JPEG in memory through libjpeg, its quantisation tables, and the quality they tell of."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from undegrade.core.errors import UnknownNameError, UsageError

__all__ = ["SUBSAMPLINGS", "quality_of_tables", "round_trip", "tables"]

SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")

# Annex K of ITU-T T.81, rows of increasing vertical frequency.
_LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
_CHROMA = np.full((8, 8), 99)
_CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]


def tables(quality: int) -> tuple[np.ndarray, np.ndarray]:
    """The (8, 8) luma and chroma tables that libjpeg, Matlab and OpenCV use at ``quality`` (1..100)."""
    scaling = 5000 // quality if quality < 50 else 200 - 2 * quality
    luma, chroma = (np.clip((base * scaling + 50) // 100, 1, 255) for base in (_LUMA, _CHROMA))
    return luma, chroma


def quality_of_tables(luma: Sequence[int] | np.ndarray) -> int:
    """The libjpeg quality (1..100) whose luma table comes nearest, whatever the order of the 64 entries."""
    wanted = np.sort(np.asarray(luma).reshape(-1))
    distances = [np.abs(np.sort(tables(quality)[0].reshape(-1)) - wanted).sum() for quality in range(1, 101)]
    return int(np.argmin(distances)) + 1


def round_trip(picture: Tensor, quality: int, subsampling: str = "4:2:0") -> Tensor:
    """What a JPEG file of the picture holds.

    Args:
        picture: (1, H, W) or (3, H, W) in 0..1; clipped and rounded to 8 bit first.
        quality: 1..100.
        subsampling: of the chroma, ``"4:2:0"`` being libjpeg's habit; grey pictures have none.

    Raises:
        UsageError: a quality outside the range or another number of channels.
        UnknownNameError: an unknown subsampling.
    """
    channels = picture.shape[0]
    if channels not in (1, 3):
        raise UsageError(f"{channels} channels: JPEG holds 1 or 3")
    if not 1 <= quality <= 100:
        raise UsageError(f"quality={quality}: must lie in 1-100")
    if subsampling not in SUBSAMPLINGS:
        raise UnknownNameError("subsampling", subsampling, SUBSAMPLINGS)
    levels = (picture.clamp(0, 1) * 255).round().byte().cpu()
    array = levels[0].numpy() if channels == 1 else levels.permute(1, 2, 0).contiguous().numpy()
    file = io.BytesIO()
    options = {} if channels == 1 else {"subsampling": SUBSAMPLINGS.index(subsampling)}
    Image.fromarray(array).save(file, "JPEG", quality=quality, **options)
    decoded = torch.from_numpy(np.array(Image.open(file)))
    decoded = decoded[None] if channels == 1 else decoded.permute(2, 0, 1)
    return decoded.to(picture.device, picture.dtype).div_(255)
