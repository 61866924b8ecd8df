"""Local means for networks trained on patches (TLC; Chu et al., arXiv 2112.04491, ECCV 2022).

A network that averages over a whole 256 x 256 patch in training sees other statistics on a large photo. The test-time
local converter averages over a window around each pixel instead, 1.5 times the training size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from undegrade.networks.layers.whole import whole_mean

__all__ = ["Window", "spread", "window_at", "window_mean", "window_mean_everywhere"]

Window = tuple[int, int]
"""Height and width of a mean's window, in pixels of the map that it runs on."""

_GROWTH = 1.5


def window_at(level: int, train_size: tuple[int, int], multiple: int = 16) -> Window:
    """The window of a pool that sits ``level`` halvings below the input.

    The official code finds it by running the network on a random picture of ``train_size``; the answer depends on sizes
    only: feature size x base // train size, base = int(1.5 x train size), features padded to ``multiple``.
    """
    height, width = ((-(-size // multiple) * multiple >> level) * int(_GROWTH * size) // size for size in train_size)
    return height, width


def window_mean(x: Tensor, window: Window | None) -> Tensor:
    """Mean over all of ``x``, or over every window that lies fully inside.

    Args:
        x: (B, C, H, W).
        window: size of the window; None, or one that covers both axes, is the global mean.

    Returns:
        (B, C, 1, 1), or (B, C, H - kh + 1, W - kw + 1); ``spread`` brings it back to H x W. A 1x1 convolution
        may stand between the two, it commutes with ``spread``.
    """
    height, width = x.shape[-2:]
    if window is None:
        return whole_mean(x)
    if _recorded():
        return window_mean_everywhere(x, window)
    if window[0] >= height and window[1] >= width:
        return x.mean((2, 3), keepdim=True)
    dtype = x.dtype
    x = x if dtype == torch.float64 else x.float()
    # Running sums grow with the picture and lose digits; around zero they do not.
    centre = x.mean((2, 3), keepdim=True)
    x = _running_mean(x - centre, min(window[1], width), dim=3)
    return (_running_mean(x, min(window[0], height), dim=2) + centre).to(dtype)


def spread(means: Tensor, height: int, width: int) -> Tensor:
    """Repeat the outermost means until the map is ``height`` x ``width``; a single mean is left to broadcasting."""
    if _recorded() or means.shape[-2] == means.shape[-1] == 1:
        return means
    rows, columns = height - means.shape[-2], width - means.shape[-1]
    return F.pad(means, (columns // 2, (columns + 1) // 2, rows // 2, (rows + 1) // 2), mode="replicate")


def window_mean_everywhere(x: Tensor, window: Window) -> Tensor:
    """``spread(window_mean(x, window))`` without decisions about sizes: one recorded graph serves them all."""
    dtype = x.dtype
    x = x if dtype == torch.float64 else x.float()
    centre = x.mean((2, 3), keepdim=True)
    x = x - centre
    for dim, size in ((3, window[1]), (2, window[0])):
        length = x.shape[dim]
        start = (torch.arange(length, device=x.device) - (size - 1) // 2).clamp(max=length - size).clamp(min=0)
        stop = (start + size).clamp(max=length)
        total = torch.cat([torch.zeros_like(x.narrow(dim, 0, 1)), x.cumsum(dim)], dim)
        count = (stop - start).to(x.dtype)
        x = total.index_select(dim, stop) - total.index_select(dim, start)
        x = x / (count[:, None] if dim == 2 else count)
    return (x + centre).to(dtype)


def _recorded() -> bool:
    """Whether a graph is made of the network now."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


def _running_mean(x: Tensor, size: int, dim: int) -> Tensor:
    length = x.shape[dim]
    if size == length:
        return x.mean(dim, keepdim=True)
    total = x.cumsum(dim)
    inner = total.narrow(dim, size, length - size) - total.narrow(dim, 0, length - size)
    return torch.cat([total.narrow(dim, size - 1, 1), inner], dim) / size
