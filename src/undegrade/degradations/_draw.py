"""Drawing strengths: a number stands for itself, a pair is a range, nothing is the training range."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from numbers import Real
from typing import Any, TypeGuard, TypeVar

import torch
from torch import Tensor

from undegrade.core.errors import UsageError

__all__ = [
    "Strength",
    "chance",
    "choice",
    "fixed",
    "flag",
    "integer",
    "probability",
    "round8",
    "strength",
    "tensors",
    "uniform",
]

T = TypeVar("T")

Strength = float | Sequence[float] | None


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    """One number from U(low, high)."""
    return low + (high - low) * float(torch.rand((), generator=generator, device=generator.device))


def integer(generator: torch.Generator, low: int, high: int) -> int:
    """One whole number from low..high, both ends included."""
    return int(torch.randint(low, high + 1, (), generator=generator, device=generator.device))


def probability(value: float, name: str) -> float:
    """``value``, called ``name`` in messages.

    Raises:
        UsageError: it is no number in 0-1.
    """
    if not isinstance(value, Real) or not 0 <= value <= 1:
        raise UsageError(f"{name}={value!r}: a probability is needed, a number in 0-1")
    return value


def chance(generator: torch.Generator, likely: float, name: str = "probability") -> bool:
    """True with this probability, called ``name`` in messages; always draws, so that the stream does not depend on it.

    Raises:
        UsageError: the probability is no number in 0-1.
    """
    likely = probability(likely, name)
    return uniform(generator, 0.0, 1.0) < likely


def choice(generator: torch.Generator, options: Sequence[T]) -> T:
    """One of the options, all equally likely."""
    return options[integer(generator, 0, len(options) - 1)]


def flag(value: Any, name: str) -> bool:
    """``value``, called ``name`` in messages.

    Raises:
        UsageError: it is neither true nor false.
    """
    if value not in (True, False):
        raise UsageError(f"{name}={value!r}: give true or false")
    return bool(value)


def tensors(given: Any, name: str) -> list[Tensor]:
    """A tensor or several as a list, called ``name`` in messages.

    Raises:
        UsageError: it is something else.
    """
    several = [given] if isinstance(given, Tensor) else given
    if not isinstance(several, Sequence) or not all(isinstance(one, Tensor) for one in several):
        raise UsageError(f"{name}={given!r}: give a file, a folder, or tensors")
    return list(several)


def fixed(value: Strength) -> TypeGuard[float]:
    """Whether a strength is one number, also numpy's or as text: a test condition rather than a training range."""
    return isinstance(value, Real | str)


def strength(generator: torch.Generator, value: Strength, low: float, high: float, name: str = "strength") -> float:
    """A strength as recipes and callers give it.

    Args:
        generator: where a random one comes from.
        value: a number (taken as it is), a pair (uniform in between) or None (uniform in ``low``..``high``).
        low, high: the training range.
        name: what it is called in messages.

    Raises:
        UsageError: neither a finite number from 0 nor a pair of them in rising order.
    """
    if value is None:
        return uniform(generator, low, high)
    try:
        value = float(value) if isinstance(value, str) else value  # YAML takes 5e-1, without a point, for text
        low, high = _ends(value)
    except (TypeError, ValueError):
        raise UsageError(f"{name}={value!r}: give a number or a pair [low, high]") from None
    if not 0 <= low <= high < inf:
        raise UsageError(f"{name}={value!r}: must be finite, 0 or more, and the first of a pair not above the second")
    return low if fixed(value) else uniform(generator, low, high)


def _ends(value: float | Sequence[float]) -> tuple[float, float]:
    low, high = (value, value) if fixed(value) else value  # type: ignore[misc]
    return float(low), float(high)


def round8(picture: Tensor) -> Tensor:
    """Clip to 0..1 and round to the 256 levels of an 8-bit file."""
    return (picture.clamp(0, 1) * 255).round_().div_(255)
