"""Restorer: a network with everything around it (padding, tiles, ensemble), from picture to restored picture."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undegrade.networks._spec import NetworkSpec
from undegrade.tasks import Task

__all__ = ["Restorer"]


class Restorer:
    """A network, its spec and config, and optionally the task it serves."""

    def __init__(self, module: nn.Module, spec: NetworkSpec[Any], config: Any, task: Task | None = None) -> None:
        self.module, self.spec, self.config, self.task = module, spec, config, task

    @classmethod
    def from_module(cls, net: nn.Module, spec: NetworkSpec[Any], config: Any, task: Task | None = None) -> Restorer:
        """A Restorer around a module in memory, for example one in training."""
        return cls(net, spec, config, task)

    @torch.inference_mode()
    def tensor(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in 0..1 -> (B, C, sH, sW) in 0..1."""
        training = self.module.training
        self.module.eval()
        try:
            height, width = x.shape[-2:]
            step, scale = self.spec.multiple_of, self.spec.scale(self.config)
            padded = F.pad(x, (0, -width % step, 0, -height % step), mode="reflect")
            y: Tensor = self.module(padded)[..., : height * scale, : width * scale]
            return y.float().clamp(0, 1)
        finally:
            self.module.train(training)
