"""Units in a form that graphs can hold: no loops over pictures or rows, no writing into parts of a tensor.

Each is a subclass of the unit that it stands for, with the same parameters and the same result to rounding. The other
units of the networks go into graphs as they are.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undegrade.networks.ccnet import Strip
from undegrade.networks.layers.pyramid import LEVELS, NORM_FLOOR, SHARPNESS, PyramidAttention
from undegrade.networks.layers.whole import WholeInstanceNorm, shared, sharing
from undegrade.networks.mhnet import SelectiveAttention

__all__ = ["FORMS", "as_graph"]


class ShiftedStrip(Strip):
    """Taps times shifted maps, where the network convolves picture by picture."""

    def forward(self, u: Tensor) -> Tensor:
        """(B, c, h, w) -> same shape; sides from one more than the taps reach."""
        size = self.taps.out_channels
        taps = torch.sigmoid(F.conv2d(shared(_mean(u)), self.taps.weight.to(u.dtype)))
        reach, length = self.dilation * (size // 2), u.shape[self.axis]
        padded = F.pad(u, (0, 0, reach, reach) if self.axis == 2 else (reach, reach, 0, 0), mode="reflect")
        y = taps[:, :1] * padded.narrow(self.axis, 0, length)
        for tap in range(1, size):
            y = y + taps[:, tap : tap + 1] * padded.narrow(self.axis, tap * self.dilation, length)
        return y


class TwoPassInstanceNorm(WholeInstanceNorm):
    """Mean and deviation by ``_mean``; OpenVINO's own instance norm loses digits on large maps."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        if sharing():
            return super().forward(x)
        x = x - _mean(x)
        deviation = (_mean(x.square()) + self.eps).sqrt()
        return x / deviation * self.weight[:, None, None] + self.bias[:, None, None]


class TopKAttention(SelectiveAttention):
    """Ranks by ``topk``, which every runtime has, where the network sorts stably."""

    def attend(self, scores: Tensor) -> Tensor:
        """(B, heads, n, n) -> the weights of the values."""
        row = self.qkv.in_channels // self.heads
        ranked, order = scores.topk(row, dim=-1)
        powers = (ranked - ranked[..., :1]).exp()
        factors: Any = 0
        for mix, kept in zip(self.mix, self.kept, strict=True):
            best = F.pad(torch.ones_like(powers[..., :kept]), (0, row - kept))
            factors = factors + mix * best / powers[..., :kept].sum(-1, keepdim=True)
        return torch.zeros_like(powers).scatter(-1, order, powers * factors)


class WholePyramidAttention(PyramidAttention):
    """All pixels against all patches at once, as published: memory grows with the square of the pixels."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) with H, W >= 2 -> same shape."""
        sizes = [x, *(self.resize(x, 1 - level / 10) for level in range(1, LEVELS))]
        keys = [_patches(self.key(size)) for size in sizes]
        lengths = [key.square().sum(1, keepdim=True).clamp_min(NORM_FLOOR**2).sqrt() for key in keys]
        sharp = [key * (SHARPNESS / length) for key, length in zip(keys, lengths, strict=True)]
        values = [_patches(self.value(size)) for size in sizes]
        scores = _patches(self.query(x)).transpose(1, 2) @ torch.cat(sharp, 2)
        pasted = torch.cat(values, 2) @ scores.softmax(-1).transpose(1, 2)  # (B, 9 C, pixels)
        parts = pasted.reshape(x.shape[0], -1, x.shape[2], x.shape[3]).chunk(9, 1)
        return x * self.residual + _overlaid(list(parts)) / 4


def _mean(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 1, 1): the mean, and the mean of what is left around it.

    OpenVINO's sum over a large map loses digits where the values are far from zero.
    """
    first = x.mean((2, 3), keepdim=True)
    return first + (x - first).mean((2, 3), keepdim=True)


def _patches(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 9 C, H W): the 3x3 patch around every pixel, zeros outside."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1))
    shifts = [padded.narrow(2, row, height).narrow(3, column, width) for row in range(3) for column in range(3)]
    return torch.cat(shifts, 1).flatten(2)


def _overlaid(parts: list[Tensor]) -> Tensor:
    """The adjoint of ``_patches``: nine maps, each shifted back to where its pixel lies, added."""
    total: Tensor | None = None
    height, width = parts[0].shape[-2:]
    for place, part in enumerate(parts):
        row, column = divmod(place, 3)
        shifted = F.pad(part, (1, 1, 1, 1)).narrow(2, 2 - row, height).narrow(3, 2 - column, width)
        total = shifted if total is None else total + shifted
    assert total is not None
    return total


FORMS: dict[type[nn.Module], type[nn.Module]] = {
    Strip: ShiftedStrip,
    WholeInstanceNorm: TwoPassInstanceNorm,
    SelectiveAttention: TopKAttention,
    PyramidAttention: WholePyramidAttention,
}
"""Unit -> the form that stands for it in graphs."""


def as_graph(module: nn.Module) -> nn.Module:
    """A copy in eval mode that shares the weights, without gradients, its units in the forms of ``FORMS``."""
    shared: dict[int, Any] = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in module.parameters()}
    shared |= {id(buffer): buffer.detach() for buffer in module.buffers()}
    copy = deepcopy(module, shared).eval()
    for unit in copy.modules():
        if type(unit) in FORMS:
            unit.__class__ = FORMS[type(unit)]
    return copy
