"""A NAFBlock computed strip by strip of rows: the same numbers to rounding, without full-size maps in between.

A block at full resolution makes eight maps of up to twice its channels. Written out as a whole they travel through
main memory, which takes longer than the arithmetic. Here a strip stays in the processor's cache from the norm to the
gate, and again from the third convolution to the end of the block; only the gated map, whose mean everything after it
needs, is kept, and the result takes its place. Inference on CPUs only: gradients need the maps, GPUs the parallelism.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undegrade.networks.layers.local_pool import spread, window_mean
from undegrade.networks.layers.whole import recording

if TYPE_CHECKING:
    from undegrade.networks.layers.naf import LayerNorm2d, NAFBlock

__all__ = ["in_strips", "suits"]

_ELEMENTS = 1 << 19
"""Of the widest map of a strip; in float32 these are 2 MB. Half and twice as many are as fast on the machine tried."""


def suits(x: Tensor) -> bool:
    """Whether strips are possible and useful for ``x``: eager inference on a CPU, each picture for itself."""
    tracing = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return x.device.type == "cpu" and not torch.is_grad_enabled() and not tracing and not recording()


def in_strips(block: NAFBlock, x: Tensor) -> Tensor:
    """``block(x)``: (B, C, H, W) -> the same shape, channels-last in memory."""
    rows = max(1, _ELEMENTS // (2 * x.shape[1] * x.shape[3]))
    x = x.permute(0, 2, 3, 1)
    half = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    gated = torch.empty(x.shape, dtype=half)
    result = gated if half == x.dtype else torch.empty(x.shape, dtype=x.dtype)
    for picture in range(x.shape[0]):
        one = slice(picture, picture + 1)
        _first_half(block, x[one], gated[one], rows)
        _second_half(block, x[one], gated[one], result[one], rows)
    return result.permute(0, 3, 1, 2)


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


def _second_half(block: NAFBlock, x: Tensor, gated: Tensor, result: Tensor, rows: int) -> None:
    """From the gated map to the end of the block; ``result`` may be the memory of ``gated``."""
    height, width, channels = x.shape[1:]
    attention = block.sca(window_mean(gated.permute(0, 3, 1, 2), block.window))
    everywhere = attention.shape[-2:] == (1, 1)
    attention = spread(attention, height, width).permute(0, 2, 3, 1)
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
