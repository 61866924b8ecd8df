"""Peak signal-to-noise ratio, and PSNR-B, which also punishes visible 8 x 8 blocks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["blocking_effect", "crop_border", "mean_squared_error", "psnr", "psnr_b", "same_shape"]


def same_shape(output: Tensor, target: Tensor) -> None:
    """Checks that two pictures can be compared.

    Raises:
        ValueError: the shapes differ or are not (C, H, W).
    """
    if output.shape != target.shape or output.ndim != 3:
        raise ValueError(
            f"shapes {tuple(output.shape)} and {tuple(target.shape)}: two (C, H, W) of the same size are needed"
        )


def crop_border(picture: Tensor, border: int) -> Tensor:
    """(..., H, W) without ``border`` pixels on every side.

    Raises:
        ValueError: nothing would be left.
    """
    if border == 0:
        return picture
    if min(picture.shape[-2:]) <= 2 * border:
        raise ValueError(f"a {picture.shape[-1]}x{picture.shape[-2]} picture has no inside at a border of {border}")
    return picture[..., border:-border, border:-border]


def mean_squared_error(output: Tensor, target: Tensor) -> float:
    """Mean over all pixels and channels of two (C, H, W) pictures, in double precision.

    Raises:
        ValueError: as ``same_shape``.
    """
    same_shape(output, target)
    return float((output.double() - target.double()).square().mean())


def _decibel(error: float, data_range: float) -> float:
    return math.inf if error == 0 else 10.0 * math.log10(data_range**2 / error)


def psnr(output: Tensor, target: Tensor, data_range: float = 1.0) -> float:
    """10 log10(range^2 / MSE) with one MSE over all channels ("CPSNR"), in dB; infinite for equal pictures.

    Args:
        output, target: (C, H, W).
        data_range: the peak value.

    Raises:
        ValueError: as ``same_shape``.
    """
    return _decibel(mean_squared_error(output, target), data_range)


def blocking_effect(picture: Tensor, block: int = 8) -> float:
    """Blocking effect factor of Yim and Bovik, "Quality Assessment of Deblocked Images" (2011), equations 6-9.

    Mean squared step across block boundaries less that between all other neighbours, times
    log2(block) / log2(min(H, W)); 0 where the boundaries are not the rougher ones, and for a single row or column.

    Args:
        picture: (1, H, W), the grid starting at the top left pixel.
        block: width of a block.
    """
    height, width = picture.shape[-2:]
    boundary, inside = [], []
    for axis, size in ((-1, width), (-2, height)):
        step = picture.double().diff(dim=axis).square()
        at_boundary = torch.arange(1, size, device=picture.device) % block == 0
        boundary.append(step.index_select(axis, at_boundary.nonzero()[:, 0]).flatten())
        inside.append(step.index_select(axis, (~at_boundary).nonzero()[:, 0]).flatten())
    steps, others = torch.cat(boundary), torch.cat(inside)
    if min(height, width) < 2 or not len(steps) or not len(others):
        return 0.0
    excess = float(steps.mean() - others.mean())
    return max(excess, 0.0) * math.log2(block) / math.log2(min(height, width))


def psnr_b(output: Tensor, target: Tensor, data_range: float = 1.0, block: int = 8) -> float:
    """PSNR with the blocking effect factor of the output added to the MSE, in dB (Yim and Bovik 2011, equation 10).

    Args:
        output, target: (1, H, W).
        data_range: the peak value.
        block: width of a coding block.

    Raises:
        ValueError: as ``same_shape``.
    """
    return _decibel(mean_squared_error(output, target) + blocking_effect(output, block), data_range)
