"""Drawing strengths: a number stands for itself, a pair is a range, nothing is the training range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from undegrade.core.errors import UsageError

__all__ = ["Strength", "chance", "choice", "integer", "round8", "strength", "uniform"]

T = TypeVar("T")

Strength = float | Sequence[float] | None


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    """One number from U(low, high)."""
    return low + (high - low) * float(torch.rand((), generator=generator, device=generator.device))


def integer(generator: torch.Generator, low: int, high: int) -> int:
    """One whole number from low..high, both ends included."""
    return int(torch.randint(low, high + 1, (), generator=generator, device=generator.device))


def chance(generator: torch.Generator, probability: float) -> bool:
    """True with this probability; always draws, so that the stream does not depend on it."""
    return uniform(generator, 0.0, 1.0) < probability


def choice(generator: torch.Generator, options: Sequence[T]) -> T:
    """One of the options, all equally likely."""
    return options[integer(generator, 0, len(options) - 1)]


def strength(generator: torch.Generator, value: Strength, low: float, high: float, name: str = "strength") -> float:
    """A strength as recipes and callers give it.

    Args:
        generator: where a random one comes from.
        value: a number (taken as it is), a pair (uniform in between) or None (uniform in ``low``..``high``).
        low, high: the training range.
        name: what it is called in messages.

    Raises:
        UsageError: a sequence that is not a pair.
    """
    if value is None:
        return uniform(generator, low, high)
    if isinstance(value, (int, float)):
        return float(value)
    if len(value) != 2:
        raise UsageError(f"{name}={list(value)}: give a number or a pair [low, high]")
    return uniform(generator, float(value[0]), float(value[1]))


def round8(picture: Tensor) -> Tensor:
    """Clip to 0..1 and round to the 256 levels of an 8-bit file."""
    return (picture.clamp(0, 1) * 255).round_().div_(255)
