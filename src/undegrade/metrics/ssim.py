"""Structural similarity (Wang et al. 2004) with the windows, borders and habits found in published code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from undegrade.metrics.psnr import same_shape

__all__ = ["GAUSSIAN", "UNIFORM", "UNIFORM_8", "Window", "pool_for_dehazing", "ssim", "ssim_map", "stretch"]


@dataclass(frozen=True)
class Window:
    """How local means, variances and covariances are taken.

    Attributes:
        kind: ``gaussian`` (weights exp(-d^2 / 2 sigma^2), normalised) or ``uniform``.
        size: taps per axis; odd if the border is replicated.
        sigma: of the Gaussian, in pixels.
        border: ``valid`` keeps windows that lie inside; ``replicate`` repeats edge pixels and keeps the full map.
        unbiased: variances over n - 1 instead of n samples, scikit-image's habit for uniform windows.
    """

    kind: Literal["gaussian", "uniform"]
    size: int
    sigma: float = 1.5
    border: Literal["valid", "replicate"] = "valid"
    unbiased: bool = False

    def weights(self) -> Tensor:
        """(size,) float64 on the CPU, whatever device the program has new tensors on, summing to 1."""
        if self.kind == "uniform":
            return torch.full((self.size,), 1.0 / self.size, dtype=torch.float64, device="cpu")
        distance = torch.arange(self.size, dtype=torch.float64, device="cpu") - self.size // 2
        weights = torch.exp(-distance.square() / (2.0 * self.sigma**2))
        return weights / weights.sum()

    def mean(self, picture: Tensor) -> Tensor:
        """Local means of (C, H, W) float64: smaller by size - 1 with ``valid``, of equal size with ``replicate``.

        A sum of shifted views: six times quicker on a CPU than a double-precision convolution.
        """
        if self.border == "replicate":
            picture = F.pad(picture[None], [self.size // 2] * 4, mode="replicate")[0]
        for axis in (-1, -2):
            length = picture.shape[axis] - self.size + 1
            picture = sum(
                (float(weight) * picture.narrow(axis, tap, length) for tap, weight in enumerate(self.weights())),
                start=torch.zeros((), dtype=torch.float64, device=picture.device),
            )
        return picture


GAUSSIAN = Window("gaussian", 11)
"""The reference implementation of 2004: 11 x 11, sigma 1.5, valid region."""

UNIFORM = Window("uniform", 7, unbiased=True)
"""The default of scikit-image: 7 x 7 box, sample covariance, valid region."""

UNIFORM_8 = Window("uniform", 8)
"""An 8 x 8 box, as the first published SSIM code had it; still behind some rows of JPEG tables."""


def ssim_map(output: Tensor, target: Tensor, window: Window = GAUSSIAN, data_range: float = 1.0) -> Tensor:
    """Local SSIM, (C, H', W') float64, with K1 = 0.01 and K2 = 0.03.

    Raises:
        ValueError: shapes differ, or the picture is smaller than a valid window.
    """
    same_shape(output, target)
    if window.border == "valid" and min(output.shape[-2:]) < window.size:
        raise ValueError(
            f"a {output.shape[-1]}x{output.shape[-2]} picture is smaller than the {window.size}x{window.size} window"
        )
    x, y = output.double(), target.double()
    mean_x, mean_y = window.mean(x), window.mean(y)
    samples = window.size**2
    norm = samples / (samples - 1) if window.unbiased else 1.0
    variance_x = norm * (window.mean(x * x) - mean_x * mean_x)
    variance_y = norm * (window.mean(y * y) - mean_y * mean_y)
    covariance = norm * (window.mean(x * y) - mean_x * mean_y)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    return luminance * (2 * covariance + c2) / (variance_x + variance_y + c2)


def ssim(output: Tensor, target: Tensor, window: Window = GAUSSIAN, data_range: float = 1.0) -> float:
    """Mean structural similarity over pixels, then channels; 1 for equal pictures.

    Args:
        output, target: (C, H, W).
        window: how local statistics are taken.
        data_range: the peak value L in the constants (K L)^2.

    Raises:
        ValueError: as ``ssim_map``.
    """
    return float(ssim_map(output, target, window, data_range).mean())


def pool_for_dehazing(picture: Tensor, multiple: int = 4) -> Tensor:
    """The reduction before SSIM in the test code of the dehazing systems (ChaIR, CCNet).

    Size h becomes H = (h // multiple + 1) * multiple, which is too large by one multiple where h already is one;
    r = max(1, round(min(H, W) / 256)), halves to even; adaptive average pooling to (H // r, W // r).

    Args:
        picture: (C, H, W).
        multiple: what the test code pads to.
    """
    height, width = ((size // multiple + 1) * multiple for size in picture.shape[-2:])
    ratio = max(1, round(min(height, width) / 256))
    return F.adaptive_avg_pool2d(picture.double(), (height // ratio, width // ratio))


def stretch(picture: Tensor) -> Tensor:
    """The picture's own range stretched to 0..1, as M3SNet's SSIM script does; a flat picture becomes zeros."""
    low, high = picture.min(), picture.max()
    return (picture - low) / (high - low).clamp(min=torch.finfo(picture.dtype).tiny)
