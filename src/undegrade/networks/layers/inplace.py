"""Pointwise steps that overwrite their first argument when no gradient is wanted.

Fresh memory for every step costs more than the step: pages have to be mapped and zeroed first. With gradients the
values are still needed for the way back, so a new tensor is returned. Either way, the first argument must not be used
afterwards.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Gelu", "add", "add_product", "gelu", "multiply"]


def gelu(x: Tensor) -> Tensor:
    """GELU in its exact form."""
    if torch.is_grad_enabled():
        return F.gelu(x)
    result: Tensor = torch.ops.aten.gelu_(x)
    return result


def multiply(x: Tensor, factor: Tensor) -> Tensor:
    """``x * factor``."""
    return x * factor if torch.is_grad_enabled() else x.mul_(factor)


def add(x: Tensor, y: Tensor) -> Tensor:
    """``x + y``."""
    return x + y if torch.is_grad_enabled() else x.add_(y)


def add_product(x: Tensor, factor: Tensor, y: Tensor) -> Tensor:
    """``x + factor * y``."""
    return torch.addcmul(x, factor, y) if torch.is_grad_enabled() else x.addcmul_(factor, y)


class Gelu(nn.Module):
    """``gelu`` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> same shape."""
        return gelu(x)
