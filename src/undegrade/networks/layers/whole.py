"""Means over a whole picture while the network sees only a tile of it.

A network that averages over its whole input gives each tile of a picture another result than the picture as a whole:
by little when it removes noise, visibly when it removes rain or haze. So the means are found beforehand, on windows
spread over the picture that run as one batch and share every mean, and then stand for the tiles' own (``Passes``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

__all__ = [
    "Passes",
    "WholeInstanceNorm",
    "apart",
    "begin",
    "fixed",
    "recording",
    "shared",
    "sharing",
    "using",
    "whole_mean",
]


class Passes:
    """The means that a network met on its way, for each pass that it makes over one input.

    Args:
        found: what an earlier recording found, to be used from now on; None records.

    Attributes:
        number: of the pass that has begun, where means are used.
    """

    def __init__(self, found: list[list[Tensor]] | None = None) -> None:
        self.recording = found is None
        self.found: list[list[Tensor]] = [] if found is None else found
        self.number, self._place = -1, 0

    @classmethod
    def average(cls, records: Sequence[tuple[Passes, int]]) -> Passes:
        """Ready for use: the mean over recordings, each with its weight."""
        total = sum(weight for _, weight in records)
        passes = zip(*(record.found for record, _ in records), strict=True)
        weights = [weight / total for _, weight in records]
        return cls(
            [
                [sum(w * value for w, value in zip(weights, values, strict=True)) for values in zip(*one, strict=True)]
                for one in passes
            ]
        )

    def begin(self, *, again: bool = False) -> None:
        """The network starts a pass, or repeats the one that it has just made."""
        self._place = 0
        if self.recording:
            if again:
                self.found.pop()
            self.found.append([])
        elif self.found and not again:
            self.number = (self.number + 1) % len(self.found)

    def meet(self, value: Tensor) -> Tensor:
        """What stands for ``value`` (B, ...), a mean over each input of the batch."""
        if self.recording:
            mean = value.mean(0, keepdim=True)
            self.found[-1].append(mean)
            return mean.expand_as(value)
        if not self.found:
            return value
        self._place += 1
        return self.found[self.number][self._place - 1].to(value.dtype).expand_as(value)


_CURRENT: ContextVar[Passes | None] = ContextVar("passes", default=None)


@contextmanager
def using(passes: Passes) -> Iterator[Passes]:
    """Networks that run inside share their means through ``passes``."""
    token = _CURRENT.set(passes)
    try:
        yield passes
    finally:
        _CURRENT.reset(token)


def begin(*, again: bool = False) -> None:
    """Called by whoever runs a network, before each pass."""
    if (passes := _CURRENT.get()) is not None:
        passes.begin(again=again)


def recording() -> bool:
    """Whether the inputs of a batch share their means now, so that they cannot be computed one by one."""
    if torch.compiler.is_compiling():
        return False
    passes = _CURRENT.get()
    return passes is not None and passes.recording


def sharing() -> bool:
    """Whether the network runs on tiles or windows of a picture now."""
    return not torch.compiler.is_compiling() and _CURRENT.get() is not None


def apart() -> bool:
    """Whether every input has its own means now, so that a recorded graph of the network serves as well."""
    passes = _CURRENT.get()
    return passes is None or not (passes.recording or passes.found)


def fixed() -> list[Tensor] | None:
    """The means that stand for those of the pass that has begun, in the order in which the network meets them."""
    passes = _CURRENT.get()
    return None if passes is None or passes.recording or not passes.found else passes.found[passes.number]


def shared(value: Tensor) -> Tensor:
    """``value`` (B, ...), a mean over each input, or what stands for it."""
    if torch.compiler.is_compiling():
        return value
    passes = _CURRENT.get()
    return value if passes is None else passes.meet(value)


def whole_mean(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 1, 1): the mean over the picture that ``x`` is, or is a tile of."""
    return shared(x.mean((2, 3), keepdim=True))


class WholeInstanceNorm(nn.InstanceNorm2d):
    """Instance norm by mean and deviation of the whole picture."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        if not sharing():
            return super().forward(x)
        mean = whole_mean(x)
        deviation = (whole_mean((x - mean).square()) + self.eps).sqrt()
        return (x - mean) / deviation * self.weight[:, None, None] + self.bias[:, None, None]
