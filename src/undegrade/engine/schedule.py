"""The learning rate as a function of how far the training is."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["learning_rate"]


def learning_rate(
    progress: float, *, peak: float, floor: float, warmup: float = 0.0, milestones: Sequence[float] = ()
) -> float:
    """The rate at ``progress`` (0..1 of the training).

    Linear from 0 to ``peak`` while ``progress < warmup``, then a half cosine down to ``floor``; with ``milestones`` the
    rate is halved at each of them instead.
    """
    if progress < warmup:
        return peak * progress / warmup
    if milestones:
        return peak * 0.5 ** sum(progress >= milestone for milestone in milestones)
    done = min((progress - warmup) / max(1.0 - warmup, 1e-12), 1.0)
    return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * done))
