"""Flips and turns that leave photographs plausible, the same for input and target."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor

__all__ = ["Augmentation", "augment"]

Augmentation = Literal["none", "hflip", "dihedral"]


def augment(planes: list[Tensor], kind: Augmentation, generator: Generator) -> list[Tensor]:
    """One random flip or turn, applied to every (..., H, W) tensor of ``planes``.

    ``hflip`` mirrors left and right with probability 1/2; ``dihedral`` draws one of the eight symmetries of the square
    (horizontal flip, vertical flip, transpose, each with probability 1/2); ``none`` draws nothing.
    """
    if kind == "none":
        return planes
    coins = torch.randint(0, 2, (3,), generator=generator).tolist()
    if coins[0]:
        planes = [plane.flip(-1) for plane in planes]
    if kind == "dihedral":
        if coins[1]:
            planes = [plane.flip(-2) for plane in planes]
        if coins[2]:
            planes = [plane.transpose(-1, -2) for plane in planes]
    return planes
