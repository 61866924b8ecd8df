"""Resizing as Matlab's imresize does it: bicubic with a = -1/2, widened when shrinking."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from undegrade.core.errors import UsageError

__all__ = ["crop_to_multiple", "imresize"]


def _cubic(x: Tensor) -> Tensor:
    """Keys' kernel with a = -1/2 (Keys, 1981)."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x <= 1, near, torch.where(x <= 2, far, torch.zeros_like(x)))


@lru_cache(maxsize=256)
def _taps(length: int, out: int, scale: float, antialias: bool) -> tuple[Tensor, Tensor]:
    """Which input samples make each output sample, and by how much: two (out, taps) tensors."""
    shrink = min(scale, 1.0) if antialias else 1.0
    width = 4 / shrink
    position = torch.arange(1, out + 1, dtype=torch.float64) / scale + 0.5 * (1 - 1 / scale)
    first = torch.floor(position - width / 2)
    index = first[:, None] + torch.arange(math.ceil(width) + 2, dtype=torch.float64)
    weight = shrink * _cubic(shrink * (position[:, None] - index))
    weight = weight / weight.sum(dim=1, keepdim=True)
    # Outside the picture lies its mirror image, the edge sample repeated: 1 2 3 | 3 2 1 | 1 2 3.
    mirrored = (index.long() - 1) % (2 * length)
    index = torch.where(mirrored < length, mirrored, 2 * length - 1 - mirrored)
    used = weight.abs().amax(dim=0) > 0
    return index[:, used], weight[:, used]


def _resize_axis(x: Tensor, axis: int, out: int, scale: float, antialias: bool) -> Tensor:
    index, weight = (part.to(x.device) for part in _taps(x.shape[axis], out, scale, antialias))
    shape = [1] * x.dim()
    shape[axis] = out
    total = x.new_zeros(*x.shape[:axis], out, *x.shape[axis + 1 :])
    for tap in range(index.shape[1]):
        total.addcmul_(x.index_select(axis, index[:, tap]), weight[:, tap].to(x.dtype).view(shape))
    return total


def imresize(
    picture: Tensor,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    *,
    antialias: bool = True,
    eight_bit: bool = False,
) -> Tensor:
    """Bicubic resizing equal to Matlab's ``imresize``.

    Args:
        picture: (..., H, W), any range; 0..1 when ``eight_bit``.
        scale: factor of both sides, the new sides rounded up. Either this or ``size``.
        size: (height, width) wanted.
        antialias: widen the kernel when shrinking (Matlab's default).
        eight_bit: clip and round to 8 bit after each of the two passes, as Matlab does with uint8 input. Without it
            nothing is rounded, as with double input: the two may end one level apart.

    Returns:
        (..., h, w) of the input's type; the sums are made in float64.

    Raises:
        UsageError: neither scale nor size.
    """
    height, width = picture.shape[-2:]
    if size is None:
        if scale is None:
            raise UsageError("imresize: scale and size are missing: give one of them")
        size = (math.ceil(height * scale), math.ceil(width * scale))
        scales = (scale, scale)
    else:
        scales = (size[0] / height, size[1] / width)
    x = picture.double() * 255 if eight_bit else picture.double()
    # The smaller scale goes first; equal ones go vertical first.
    for axis in sorted((0, 1), key=lambda axis: scales[axis]):
        x = _resize_axis(x, x.dim() - 2 + axis, size[axis], scales[axis], antialias)
        if eight_bit:
            x = torch.floor(x + 0.5).clamp_(0, 255)  # half away from zero, unlike torch.round
    return (x / 255 if eight_bit else x).to(picture.dtype)


def crop_to_multiple(picture: Tensor, multiple: int) -> Tensor:
    """(..., H, W) without the last rows and columns that a factor does not divide."""
    height, width = picture.shape[-2:]
    return picture[..., : height - height % multiple, : width - width % multiple]
