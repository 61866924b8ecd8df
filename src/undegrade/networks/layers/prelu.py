"""PReLU with one slope, whose training costs a processor no more than that of a leaky ReLU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from undegrade.core.memory import place

__all__ = ["PReLU"]


class PReLU(nn.Module):
    """``max(x, 0) + slope * min(x, 0)`` (He et al., arXiv 1502.01852, eq. 1) with one learnt slope for all channels.

    Torch's gradient first writes the slope's share of every number into a map, which takes a processor several times as
    long and shows in a PANet's training step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same."""
        trained = torch.is_grad_enabled() and self.weight.requires_grad and x.dtype == self.weight.dtype
        if trained and place(x) == "cpu" and not torch.compiler.is_compiling():
            y: Tensor = _PReLU.apply(x, self.weight)  # type: ignore[no-untyped-call]
            return y
        return F.prelu(x, self.weight)


class _PReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return torch.prelu(x, slope)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, slope = ctx.saved_tensors
        below = x.clamp(max=0).mul_(grad).sum().view(1)
        return torch.ops.aten.leaky_relu_backward(grad, x, float(slope), False), below
