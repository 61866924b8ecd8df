"""Bicubic shrinking as Matlab's imresize does it: the input of super-resolution benchmarks."""

from __future__ import annotations

from math import inf
from numbers import Real

import torch
from torch import Tensor

from undegrade.core.errors import InputError, UsageError
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
        InputError: fewer pixels than ``scale``.
        UsageError: a scale below 1 or not whole, or ``eight_bit`` is no flag.
    """
    factor = choice(generator, (2, 3, 4)) if scale is None else scale
    if not isinstance(factor, Real) or not 1 <= factor < inf or int(factor) != factor:
        raise UsageError(f"scale={scale!r}: a whole number from 1 on is needed")
    factor = int(factor)
    height, width = clean.shape[-2:]
    if min(height, width) < factor:
        raise InputError(f"{width} x {height} pixels are too few for scale={factor}")
    eight_bit = flag(eight_bit, "eight_bit")
    small = imresize(crop_to_multiple(clean, factor), 1 / factor, eight_bit=eight_bit)
    return small if eight_bit else round8(small)
