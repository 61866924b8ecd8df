"""PReLU with one slope for all channels, whose way back is faster on a processor than torch's.

He et al.: Delving Deep into Rectifiers (arXiv 1502.01852). With slope a, y = x where x > 0 and a x elsewhere, so that
dx = dy or a dy, and da is the sum of dy min(x, 0). torch computes both number by number, and writes a map of the terms
of that sum; here whole vectors at a time are taken, and no map is left.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["PReLU"]


class PReLU(nn.PReLU):
    """``nn.PReLU`` with one slope; gradients of gradients are torch's alone."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> same shape."""
        ours = x.device.type == "cpu" and x.dtype == self.weight.dtype and not torch.compiler.is_compiling()
        if ours and torch.is_grad_enabled():
            result: Tensor = _PReLU.apply(x, self.weight)  # type: ignore[no-untyped-call]
            return result
        return super().forward(x)


class _PReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return torch.prelu(x, slope)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, slope = ctx.saved_tensors
        grad_x, grad_slope = torch.empty_like(x), torch.zeros_like(slope)
        # Picture by picture, so that the cache still holds what the first line has read.
        for one_x, one_grad, out in zip(x, grad, grad_x, strict=True):
            torch.ops.aten.leaky_relu_backward.grad_input(one_grad, one_x, slope.item(), False, grad_input=out)
            grad_slope += one_x.clamp(max=0).mul_(one_grad).sum()
        return grad_x, grad_slope
