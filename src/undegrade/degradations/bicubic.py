"""Bicubic shrinking as Matlab's imresize does it: the input of super-resolution benchmarks."""

from __future__ import annotations

import torch
from torch import Tensor

from undegrade.core.errors import UsageError
from undegrade.degradations._draw import choice, flag, round8
from undegrade.ops.resize import crop_to_multiple, imresize

__all__ = ["bicubic"]


def bicubic(clean: Tensor, generator: torch.Generator, *, scale: int | None = None, eight_bit: bool = True) -> Tensor:
    """``clean``, cut to a multiple of ``scale``, made ``scale`` times smaller.

    Args:
        clean: (C, H, W) in 0..1.
        generator: source of all randomness.
        scale: 2, 3 or 4; None draws one of them.
        eight_bit: round after each pass as Matlab does with files read as uint8; otherwise only the result is
            rounded (files read as double).

    Raises:
        UsageError: a scale below 1 or not whole, or ``eight_bit`` is no flag.
    """
    factor = choice(generator, (2, 3, 4)) if scale is None else int(scale)
    if factor < 1 or (scale is not None and factor != scale):
        raise UsageError(f"scale={scale}: a whole number from 2 on is needed")
    eight_bit = flag(eight_bit, "eight_bit")
    small = imresize(crop_to_multiple(clean, factor), 1 / factor, eight_bit=eight_bit)
    return small if eight_bit else round8(small)
