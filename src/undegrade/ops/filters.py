"""Windows and convolution: Gaussians, box sums, the guided filter, and convolution by FFT."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from undegrade.ops.pad import pad

__all__ = ["box_mean", "convolve", "fast_length", "gaussian_blur", "gaussian_window", "guided_filter"]


def gaussian_window(size: int, sigma: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """``size`` samples of a Gaussian around their middle, summing to 1."""
    offset = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weight = torch.exp(-0.5 * (offset / sigma) ** 2)
    return (weight / weight.sum()).to(dtype)


def gaussian_blur(picture: Tensor, sigma: float) -> Tensor:
    """(C, H, W) blurred by a Gaussian cut at three sigma, borders mirrored."""
    reach = max(1, math.ceil(3 * sigma))
    channels = len(picture)
    row = gaussian_window(2 * reach + 1, sigma, picture.dtype).to(picture.device).expand(channels, 1, 1, -1)
    # Channels as groups: as a batch of one channel each, CPUs take several times as long.
    return F.conv2d(F.conv2d(pad(picture, (reach,) * 4, "symmetric"), row, groups=channels), row.mT, groups=channels)


def box_mean(picture: Tensor, radius: int) -> Tensor:
    """(..., H, W): mean over the square of side 2 ``radius`` + 1, cut at the borders, in constant time per pixel."""
    x = picture
    for axis in (-2, -1):
        length = x.shape[axis]
        total = F.pad(x.cumsum(dim=axis), (1, 0) if axis == -1 else (0, 0, 1, 0))
        here = torch.arange(length, device=x.device)
        high, low = (here + radius + 1).clamp(max=length), (here - radius).clamp(min=0)
        count = (high - low).to(x.dtype)
        count = count if axis == -1 else count[:, None]
        x = (total.index_select(axis, high) - total.index_select(axis, low)) / count
    return x


def guided_filter(guide: Tensor, picture: Tensor, radius: int, epsilon: float) -> Tensor:
    """Smooth ``picture`` but keep the edges of ``guide`` (He, Sun, Tang: Guided Image Filtering, 2013).

    Args:
        guide, picture: (1, H, W).
        radius: of the windows, in pixels.
        epsilon: variance of the guide, 0..1 squared, below which a window counts as flat.
    """
    stacked = torch.cat([guide, picture, guide * guide, guide * picture]).double()
    mean_guide, mean, mean_square, mean_product = box_mean(stacked, radius)
    slope = (mean_product - mean_guide * mean) / (mean_square - mean_guide**2 + epsilon)
    slope, offset = box_mean(torch.stack([slope, mean - slope * mean_guide]), radius)
    smooth: Tensor = slope * guide + offset
    return smooth.to(picture.dtype)


def convolve(picture: Tensor, kernel: Tensor) -> Tensor:
    """Convolution by FFT, borders mirrored.

    Args:
        picture: (C, H, W).
        kernel: (h, w) or one for each channel (C, h, w), sides odd; its middle is the origin.

    Returns:
        (C, H, W).
    """
    height, width = kernel.shape[-2:]
    top, left = height // 2, width // 2
    x = pad(picture, (left, left, top, top), "symmetric")
    size = [fast_length(side) for side in x.shape[-2:]]
    spectrum = torch.fft.rfft2(x, s=size) * torch.fft.rfft2(kernel.to(x), s=size)
    full: Tensor = torch.fft.irfft2(spectrum, s=size)
    rows, columns = picture.shape[-2:]
    return full[..., 2 * top : 2 * top + rows, 2 * left : 2 * left + columns]


def fast_length(length: int) -> int:
    """The next length from ``length`` on without prime factors above 5: FFTs of others take several times as long."""
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1
