"""Training losses on (B, C, H, W) floats in 0..1; ``multiscale_*`` take a list of outputs, coarse to fine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from undegrade.core.errors import UnknownNameError, UsageError

__all__ = [
    "charbonnier",
    "checkerboard",
    "edge",
    "fft",
    "get",
    "is_multiscale",
    "l1",
    "multiscale_fft",
    "multiscale_l1",
    "multiscale_l1_fft",
    "psnr_loss",
]


_PERIOD = 8
"""Pixels after which the grid of three halvings repeats."""
_WINDOW = 64
"""Side of the windows: the grid is not equally strong everywhere."""


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference."""
    return F.l1_loss(output, target)


def charbonnier(output: Tensor, target: Tensor) -> Tensor:
    """Mean of sqrt(d^2 + 1e-6), a smooth absolute difference."""
    return torch.sqrt((output - target).square() + 1e-6).mean()


def psnr_loss(output: Tensor, target: Tensor) -> Tensor:
    """Minus the PSNR in dB, averaged over the batch (M3SNet, MHNet; NAFNet's loss)."""
    mse = (output - target).square().mean(dim=(1, 2, 3))
    return 10.0 * torch.log10(mse + 1e-8).mean()


def fft(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the real and imaginary parts of the unnormalised 2-D spectra (MIMO-UNet, eq. 6)."""
    difference = torch.fft.fft2(output - target)
    return torch.view_as_real(difference).abs().mean()


def edge(output: Tensor, target: Tensor) -> Tensor:
    """Charbonnier distance of the finest Laplacian-pyramid band (MPRNet), in full precision.

    The band is a difference of nearly equal numbers, of which a blur in bfloat16 would leave no digit.
    """
    with torch.autocast(output.device.type, enabled=False):
        return charbonnier(_laplacian(output), _laplacian(target))


def checkerboard(output: Tensor, target: Tensor) -> Tensor:
    """The part of the error that repeats every 8 pixels, in dB, averaged over windows of 64 x 64 pixels.

    Halving and pixel shuffles leave a grid of their stride in what is smooth (Odena, Dumoulin and Olah, "Deconvolution
    and checkerboard artifacts", Distill 2016), too faint to weigh in the whole error, and seen at once in a sky. So
    each window has its own logarithm.

    Raises:
        UsageError: a side is below 15 pixels, so that no period is whole.
    """
    if min(output.shape[-2:]) < 2 * _PERIOD - 1:
        raise UsageError(
            f"{min(output.shape[-2:])} pixels are too few for the loss checkerboard: give patches of 15 or more"
        )
    with torch.autocast(output.device.type, enabled=False):
        error = (output - target).float()
        # A slope would look like a grid; a mean over one period has none of it.
        error = error[..., 3:-4, 3:-4] - F.avg_pool2d(error, _PERIOD, 1)
        windows = _windows(_windows(error, -2), -1)  # (B, C, rows, repeats, 8, columns, repeats, 8)
        grid = windows.mean(dim=(3, 6))
        grid = grid - grid.mean(dim=(3, 5), keepdim=True)
        mse = grid.square().mean(dim=(1, 3, 5))
        return 10.0 * torch.log10(mse + 1e-8).mean()


def multiscale_l1(outputs: Sequence[Tensor], target: Tensor) -> Tensor:
    """Sum of ``l1`` over the resolutions; the target is shrunk bilinearly, without antialiasing, to each."""
    return _over_scales(l1, outputs, target)


def multiscale_fft(outputs: Sequence[Tensor], target: Tensor) -> Tensor:
    """Sum of ``fft`` over the resolutions; see ``multiscale_l1``."""
    return _over_scales(fft, outputs, target)


def multiscale_l1_fft(outputs: Sequence[Tensor], target: Tensor) -> Tensor:
    """``multiscale_l1`` + 0.1 ``multiscale_fft``: the loss of ChaIR and CCNet."""
    return multiscale_l1(outputs, target) + 0.1 * multiscale_fft(outputs, target)


def get(name: str) -> Callable[[Any, Tensor], Tensor]:
    """The loss called ``name``.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in _LOSSES:
        raise UnknownNameError("loss", name, _LOSSES)
    return _LOSSES[name]


def is_multiscale(name: str) -> bool:
    """Whether the loss wants the network's outputs at every resolution."""
    return name.startswith("multiscale")


_LOSSES: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "l1": l1,
    "charbonnier": charbonnier,
    "psnr": psnr_loss,
    "checkerboard": checkerboard,
    "fft": fft,
    "edge": edge,
    "multiscale_l1": multiscale_l1,
    "multiscale_fft": multiscale_fft,
    "multiscale_l1_fft": multiscale_l1_fft,
}


def _over_scales(loss: Callable[[Tensor, Tensor], Tensor], outputs: Sequence[Tensor], target: Tensor) -> Tensor:
    terms = []
    for output in outputs:
        size = output.shape[-2:]
        same = size == target.shape[-2:]
        terms.append(
            loss(output, target if same else F.interpolate(target, size, mode="bilinear", align_corners=False))
        )
    return torch.stack(terms).sum()


def _windows(x: Tensor, dim: int) -> Tensor:
    """``dim`` in three: windows, the periods in each, and the pixels of a period. What fills no window is left out."""
    length = x.shape[dim]
    size = min(_WINDOW, length // _PERIOD * _PERIOD)
    whole = x.narrow(dim, 0, length // size * size)
    return torch.unflatten(whole, dim, (-1, size // _PERIOD, _PERIOD))


def _laplacian(x: Tensor) -> Tensor:
    """``x`` minus its version blurred, halved, put back on every second pixel (times 4) and blurred again."""
    kept = torch.zeros_like(x)
    kept[..., ::2, ::2] = _blur(x)[..., ::2, ::2]
    return x - _blur(4.0 * kept)


def _blur(x: Tensor) -> Tensor:
    """Separable 5-tap binomial-like blur (0.05, 0.25, 0.4, 0.25, 0.05), edges repeated."""
    taps = x.new_tensor([0.05, 0.25, 0.4, 0.25, 0.05])
    channels = x.shape[1]
    rows = taps.view(1, 1, 5, 1).expand(channels, 1, 5, 1)
    x = F.pad(x, (2, 2, 2, 2), mode="replicate")
    return F.conv2d(F.conv2d(x, rows, groups=channels), rows.transpose(2, 3), groups=channels)
