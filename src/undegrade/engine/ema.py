"""An exponential moving average of the weights: what is validated and shipped."""

from __future__ import annotations

import copy

import torch
from torch import nn

from undegrade.engine.sharding import local

__all__ = ["Ema"]


class Ema:
    """Keeps ``average = d * average + (1 - d) * weights``.

    The decay grows as (1 + n) / (10 + n) with the number of updates until it reaches ``decay``, so that the random
    start is forgotten at once. Buffers are copied. ``decay`` 0 means: the weights themselves.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.module = copy.deepcopy(module).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Takes the weights of ``module`` in."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        mine, theirs = ([local(p.data) for p in one.parameters()] for one in (self.module, module))
        torch._foreach_lerp_(mine, theirs, 1.0 - decay)
        for own, new in zip(self.module.buffers(), module.buffers(), strict=True):
            own.copy_(new)
