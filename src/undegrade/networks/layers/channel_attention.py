"""Attention between channels: every channel looks at all channels of its head, at a cost linear in the pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undegrade.networks.layers.whole import shared, sharing

__all__ = ["ChannelAttention", "similarity"]


class ChannelAttention(nn.Module):
    """Multi-head attention over channels, without biases, norm or residual (MHAMB of M3SNet; Restormer's MDTA).

    Args:
        channels: must be a multiple of ``heads``.
        heads: head ``i`` owns the ``i``-th contiguous block of channels.
    """

    def __init__(self, channels: int, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.qkv_dwconv = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels, bias=False)
        self.project_out = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        batch, channels, height, width = x.shape
        rows = self.qkv_dwconv(self.qkv(x)).reshape(batch, 3, self.heads, channels // self.heads, height * width)
        q, k, v = rows.unbind(1)
        scores = self.temperature * similarity(q, k)
        y: Tensor = self.project_out((self.attend(scores) @ v).reshape(batch, channels, height, width))
        return y

    def attend(self, scores: Tensor) -> Tensor:
        """Scores (B, heads, n, n) -> the weights that multiply the values, each row for one channel."""
        return scores.softmax(-1)


def similarity(q: Tensor, k: Tensor) -> Tensor:
    """Cosines between the rows of ``q`` and of ``k``, (B, heads, n, pixels) each -> (B, heads, n, n).

    The rows run over all pixels of the picture. On tiles the three sums come from the whole picture.
    """
    if q.dtype in (torch.float16, torch.bfloat16):  # sums over that many pixels, and the least length, do not fit
        with torch.autocast(q.device.type, enabled=False):
            return similarity(q.float(), k.float()).to(q.dtype)
    if not sharing():
        return F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
    pixels = q.shape[-1]
    products = shared(q @ k.transpose(-2, -1) / pixels)
    lengths_q, lengths_k = (shared(rows.square().mean(-1)).sqrt() for rows in (q, k))
    return products / (lengths_q[..., :, None] * lengths_k[..., None, :]).clamp_min(1e-12)
