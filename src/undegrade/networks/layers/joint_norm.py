"""Batch normalisation over the joint batch of all processes that train together.

Each process sees its share of a batch. Torch's own synchronised form takes no tensors on the CPU; ours is for small
maps (ChaIR normalises single pixels), which it hands around whole.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["JointBatchNorm2d", "processes"]


def processes() -> int:
    """How many train together; 1 outside of a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _Gather(torch.autograd.Function):
    """The shares of all processes, one after the other along the batch; a share's gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, share: Tensor) -> Tensor:
        shares = [torch.empty_like(share) for _ in range(processes())]
        dist.all_gather(shares, share)
        ctx.count = len(share)
        return torch.cat(shares)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        joint = gradient.contiguous()
        dist.all_reduce(joint)
        return joint[_own(ctx.count)]


class JointBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` whose statistics in training are those of all processes; each holds equally many pictures."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> same shape."""
        if not self.training or processes() == 1:
            return super().forward(x)
        joint: Tensor = _Gather.apply(x.contiguous())  # type: ignore[no-untyped-call]
        result: Tensor = super().forward(joint)[_own(len(x))]
        return result


def _own(count: int) -> slice:
    """Where this process's ``count`` pictures are among all."""
    return slice(count * dist.get_rank(), count * (dist.get_rank() + 1))
