"""Depth maps: any unit, 0 where nothing is known."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["farthest"]


def farthest(depth: Tensor) -> Tensor:
    """The depth that a hundredth of the known pixels lies beyond; a few stray ones decide nothing.

    Args:
        depth: floats of any shape, 0 where unknown; something in it is known.

    Returns:
        A scalar, in the unit of ``depth``.
    """
    known = depth[depth > 0]
    # quantile() refuses large tensors; every few pixels tell the same.
    return torch.quantile(known[:: known.numel() // 10000 + 1], 0.99)
