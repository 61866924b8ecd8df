"""How much memory a network needs for a size, found by running it on tensors without data."""

from __future__ import annotations

from contextvars import ContextVar
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["OVERHEAD", "peak_bytes", "place", "skeleton"]

OVERHEAD = 2.0
"""Measured peak over counted peak: layout changes and scratch inside convolutions are not seen from outside."""


_PLACE: ContextVar[str] = ContextVar("place", default="meta")


def place(x: Tensor) -> str:
    """The type of the device that ``x`` is on, or that tensors without data stand for."""
    return _PLACE.get() if x.is_meta else x.device.type


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors that are alive, and remembers the most."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.is_meta:
                storage = leaf.untyped_storage()
                self.alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())  # type: ignore[no-untyped-call]
        self.alive = {key: entry for key, entry in self.alive.items() if not entry[0].expired()}  # type: ignore[no-untyped-call]
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return result


def skeleton(module: nn.Module) -> nn.Module:
    """A copy on the meta device: shapes are worked out, nothing is computed, nothing is allocated."""
    # Tensors without data are put into the copy's memo, so that the weights are not copied.
    empty: dict[int, Any] = {id(p): nn.Parameter(p.to("meta"), requires_grad=False) for p in module.parameters()}
    empty |= {id(buffer): buffer.to("meta") for buffer in module.buffers()}
    return deepcopy(module, empty)


def peak_bytes(module: nn.Module, shape: tuple[int, ...], device: str = "cpu") -> int | None:
    """Working memory of ``module`` in float32 for an input of ``shape``, weights not counted.

    Every operation runs on the meta device: shapes are worked out, nothing is computed, nothing is allocated.

    Args:
        module: the network.
        shape: of its input.
        device: the type of the device that it will run on; units may have other forms there.

    Returns:
        Bytes, or None for modules that look at values and so cannot run without data.
    """
    copy = skeleton(module)
    x = torch.empty(shape, device="meta").contiguous(memory_format=torch.channels_last)
    live = _Live()
    token = _PLACE.set(device)
    try:
        with torch.no_grad(), live:
            copy(x)
    except (RuntimeError, NotImplementedError):
        return None
    finally:
        _PLACE.reset(token)
    return int(live.peak * OVERHEAD) + x.nbytes
