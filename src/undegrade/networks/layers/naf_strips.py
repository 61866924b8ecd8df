"""A NAFBlock computed strip by strip of rows: the same numbers to rounding, without full-size maps in between.

A block at full resolution makes eight maps of up to twice its channels. Written out as a whole they travel through
main memory, which takes longer than the arithmetic. Here a strip stays in the processor's cache from the norm to the
gate, and again from the third convolution to the end of the block; only the gated map, whose mean everything after it
needs, is kept, and the result takes its place. The step up to the next level and its skip addition go strip by strip
too. Inference on CPUs only: gradients need the maps, GPUs the parallelism.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undegrade.core.memory import place
from undegrade.networks.layers.local_pool import spread, window_mean

if TYPE_CHECKING:
    from undegrade.networks.layers.naf import LayerNorm2d, NAFBlock

__all__ = ["in_strips", "raised_in_strips", "suits"]

_ELEMENTS = 1 << 19
"""Of the widest map of a strip; in float32 these are 2 MB. Half and twice as many are as fast on the machine tried."""


def suits(x: Tensor) -> bool:
    """Whether strips are possible and useful for ``x``: eager inference on a CPU."""
    tracing = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return place(x) == "cpu" and not torch.is_grad_enabled() and not tracing


def in_strips(block: NAFBlock, x: Tensor) -> Tensor:
    """``block(x)``: (B, C, H, W) -> the same shape, channels-last in memory."""
    rows = max(1, _ELEMENTS // (2 * x.shape[1] * x.shape[3]))
    x = x.permute(0, 2, 3, 1)
    half = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    gated = torch.empty(x.shape, dtype=half, device=x.device)
    result = gated if half == x.dtype else torch.empty_like(gated, dtype=x.dtype)
    if x.is_meta:  # who counts memory need not see the strips' own, which is little and the same for all sizes
        return result.permute(0, 3, 1, 2)
    pictures = [slice(number, number + 1) for number in range(x.shape[0])]
    for one in pictures:
        _first_half(block, x[one], gated[one], rows)
    # Of all pictures at once: windows of one picture share their means.
    attention = block.sca(window_mean(gated.permute(0, 3, 1, 2), block.window))
    attention = spread(attention, *x.shape[1:3]).permute(0, 2, 3, 1)
    for one in pictures:
        _second_half(block, x[one], gated[one], attention[one], result[one], rows)
    return result.permute(0, 3, 1, 2)


def raised_in_strips(rise: nn.Conv2d, x: Tensor, skip: Tensor, out: Tensor) -> Tensor:
    """``skip + pixel_shuffle(rise(x), 2)``, written into ``out``, which may be ``skip``.

    Args:
        rise: a 1x1 convolution without bias to 4 C channels.
        x: (B, 2C, H, W).
        skip, out: (B, C, 2H, 2W).
    """
    if x.is_meta:
        return out
    batch, _, height, width = x.shape
    channels = skip.shape[1]
    # A pixel shuffle takes (channel, row, column) apart; channels-last memory wants (row, column, channel).
    weight = rise.weight.view(channels, 4, -1).transpose(0, 1).flatten(0, 1)
    low = x.permute(0, 2, 3, 1)
    high, result = (whole.permute(0, 2, 3, 1).view(batch, height, 2, width, 2, channels) for whole in (skip, out))
    rows = max(1, _ELEMENTS // (4 * channels * width))
    for top in range(0, height, rows):
        strip = slice(top, min(top + rows, height))
        y = F.linear(low[:, strip], weight).view(batch, -1, width, 2, 2, channels).transpose(2, 3)
        torch.add(high[:, strip], y, out=result[:, strip])
    return out


def _first_half(block: NAFBlock, x: Tensor, gated: Tensor, rows: int) -> None:
    """From ``x`` to the gate after the depth-wise convolution; all (1, H, W, C)."""
    height, channels = x.shape[1], x.shape[3]
    depthwise = block.conv2
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(top - 1, 0), min(bottom + 1, height)  # one more row on each side that has one
        wide = _linear(block.conv1, _norm(block.norm1, x[:, first:last])).permute(0, 3, 1, 2)
        wide = F.conv2d(wide, depthwise.weight, depthwise.bias, padding=1, groups=2 * channels).permute(0, 2, 3, 1)
        wide = wide[:, top - first : bottom - first]
        torch.mul(wide[..., :channels], wide[..., channels:], out=gated[:, top:bottom])


def _second_half(block: NAFBlock, x: Tensor, gated: Tensor, attention: Tensor, result: Tensor, rows: int) -> None:
    """From the gated map to the end of the block.

    Args:
        x, gated: (1, H, W, C).
        attention: the gated map's factors, (1, H, W, C) or (1, 1, 1, C).
        result: where to, of the shape of ``x``; may be the memory of ``gated``.
    """
    height, channels = x.shape[1], x.shape[3]
    everywhere = attention.shape[1:3] == (1, 1)
    beta, gamma = block.beta.flatten(), block.gamma.flatten()
    columns = attention.flatten() if everywhere else torch.ones_like(beta)
    for top in range(0, height, rows):
        strip = slice(top, min(top + rows, height))
        y = gated[:, strip] if everywhere else gated[:, strip] * attention[:, strip]
        y = x[:, strip] + _linear(block.conv3, y, beta, columns)
        wide = _linear(block.conv4, _norm(block.norm2, y))
        torch.add(y, _linear(block.conv5, wide[..., :channels] * wide[..., channels:], gamma), out=result[:, strip])


def _norm(norm: LayerNorm2d, x: Tensor) -> Tensor:
    return F.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, eps=1e-6)


def _linear(conv: nn.Conv2d, x: Tensor, rows: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
    """A 1x1 convolution on the channels-last ``x``; factors on its outputs (rows) and inputs (columns) go into it."""
    weight, bias = conv.weight.flatten(1), conv.bias
    assert bias is not None
    if columns is not None:
        weight = weight * columns
    if rows is not None:
        weight, bias = weight * rows[:, None], bias * rows
    return F.linear(x, weight, bias)
