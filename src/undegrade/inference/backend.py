"""What runs a network: the Backend protocol, and torch as the first of its kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from undegrade.core import device as devices
from undegrade.core.errors import UsageError
from undegrade.networks.layers import whole

__all__ = ["DTYPES", "Backend", "TorchBackend"]

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "fp16": torch.float16,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
}


class Backend(Protocol):
    """Runs one network. Sizes are already right when ``run`` is called."""

    name: str
    device: torch.device

    def run(self, x: Tensor) -> Tensor:
        """(B, C, H, W) float32 -> (B, C', sH, sW) float32 on the backend's device."""
        ...

    def bytes_needed(self, height: int, width: int) -> int | None:
        """Working memory for an input of this size, None when unknown."""
        ...


class TorchBackend:
    """A torch module on a device.

    Args:
        module: the network; it is moved to the device and used in eval mode.
        channels: channels of its input.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        dtype: ``"auto"`` is float16 on CUDA and float32 elsewhere; ``"bf16"`` pays on CPUs with AMX. Half precision
            runs under autocast: weights stay float32. A result with NaN or infinity is computed again in float32.
    """

    def __init__(
        self,
        module: nn.Module,
        channels: int = 3,
        device: str | torch.device = "auto",
        dtype: str = "auto",
    ) -> None:
        self.name = "torch"
        self.device = devices.pick(device)
        if dtype == "auto":
            self.dtype = torch.float16 if self.device.type == "cuda" else torch.float32
        elif dtype in DTYPES:
            self.dtype = DTYPES[dtype]
        else:
            raise UsageError(f"dtype={dtype}: choose one of auto, {', '.join(DTYPES)}")
        self.module = module.to(self.device)
        self.channels = channels
        self.place = self.device.type  # for which memory is counted
        self._needed: dict[tuple[int, int], int | None] = {}

    def run(self, x: Tensor) -> Tensor:
        """(B, C, H, W) float32 -> (B, C', sH, sW) float32 on the device."""
        x = x.to(self.device, torch.float32).contiguous(memory_format=torch.channels_last)
        with _evaluating(self.module):
            whole.begin()
            if self.dtype != torch.float32:
                with torch.autocast(self.device.type, self.dtype):
                    y = self.forward(x)
                y = y.float()
                if torch.isfinite(y).all():
                    return y
                whole.begin(again=True)
            with torch.autocast(self.device.type, enabled=False):  # also where the caller has it on
                return self.forward(x).float()

    def forward(self, x: Tensor) -> Tensor:
        """The network, in whatever precision is set."""
        y: Tensor = self.module(x)
        return y

    def bytes_needed(self, height: int, width: int) -> int | None:
        """Working memory for an input of this size: tensors alive at the worst moment, found without computing."""
        from undegrade.core.memory import peak_bytes

        size = (height, width)
        if size not in self._needed:
            self._needed[size] = peak_bytes(self.module, (1, self.channels, *size), self.place)
        return self._needed[size]


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """No gradients, eval mode; a module in training gets its mode back."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part in training:
            part.training = True
