"""Self-ensemble: the mean over the eight mirrored and transposed forms of a picture."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["ensemble8"]


def ensemble8(run: Callable[[Tensor], Tensor], x: Tensor, progress: Callable[[int, int], None] | None = None) -> Tensor:
    """Mean of ``run`` over the eight symmetries of the square, each result turned back first.

    Form number i mirrors left-right if bit 0 of i is set, then top-bottom if bit 1 is set, then transposes if bit 2
    is set. This is the x8 of the EDSR family (arXiv 1707.02921, geometric self-ensemble). One sum is kept, not eight
    results.

    Args:
        run: (B, C, H, W) -> (B, C', sH, sW); it also meets the transposed size W x H.
        x: (B, C, H, W).
        progress: called with (forms done, 8).

    Returns:
        (B, C', sH, sW).
    """
    total: Tensor | None = None
    for form in range(8):
        mirrored = [dim for bit, dim in ((1, -1), (2, -2)) if form & bit]
        transposed = bool(form & 4)
        y = torch.flip(x, mirrored)
        y = run(y.transpose(-2, -1).contiguous() if transposed else y)
        y = torch.flip(y.transpose(-2, -1) if transposed else y, mirrored)
        total = y if total is None else total + y
        if progress:
            progress(form + 1, 8)
    assert total is not None
    return total / 8
