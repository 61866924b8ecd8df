"""Changes that leave photographs plausible: flips and turns, other colours, two scenes in one, saving as JPEG."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor

from undegrade.ops.depth import farthest
from undegrade.ops.jpeg import round_trip
from undegrade.ops.pad import pad

__all__ = ["Augmentation", "augment", "collage", "recolour", "resave"]

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


def recolour(picture: Tensor, amount: float, generator: Generator) -> Tensor:
    """A (C, H, W) picture in 0..1, each channel to a power of its own; black and white stay what they are.

    The logarithm of an exponent is U(-amount, amount) for all channels together and a third of that for each alone.
    """
    common, *own = (amount * (2 * torch.rand(1 + picture.shape[0], generator=generator) - 1)).tolist()
    exponents = torch.tensor([common + channel / 3 for channel in own]).exp()
    return picture ** exponents.view(-1, 1, 1).to(picture)


def collage(scene: list[Tensor], other: list[Tensor], generator: Generator) -> list[Tensor]:
    """Two scenes in one frame: of each pixel the nearer one is seen, and its depth kept.

    A few pictures with depth maps make many scenes so, and in each the depth of what is seen stays true.

    Args:
        scene, other: photograph (3, H, W) in uint8, or int32 for 16 bit, and depth map (C, H, W) in any unit, 0 where
            unknown; all of one size.
        generator: draws how much larger the other scene is than the first, between 0.6 and 1.65.

    Returns:
        Photograph, of the deeper type of the two, and depth (1, H, W) in int32, 10000 at the far end of ``scene``.
    """
    scale = float(torch.empty(()).uniform_(-0.5, 0.5, generator=generator).exp())
    one, two = _distances(scene[1]), scale * _distances(other[1])
    nearest = torch.minimum(one, two)
    depth = torch.where(nearest.isinf(), 0, 10000 * nearest).round().to(torch.int32)
    photographs = [scene[0], other[0]]
    if scene[0].dtype != other[0].dtype:
        photographs = [257 * photo.int() if photo.dtype == torch.uint8 else photo for photo in photographs]
    return [torch.where(two < one, photographs[1], photographs[0]), depth]


def resave(picture: Tensor, generator: Generator) -> Tensor:
    """A (3, H, W) picture in 0..1 as a JPEG file gives it back that somebody cropped.

    The quality is 60 to 98, the chroma 4:2:0 in four of five cases and full else; the grid of blocks begins anywhere.
    """
    quality, left, top, chroma = (
        int(torch.randint(low, high, (1,), generator=generator)) for low, high in ((60, 99), (0, 8), (0, 8), (0, 5))
    )
    shifted = round_trip(pad(picture, (left, 0, top, 0)), quality, "4:2:0" if chroma else "4:4:4")
    return shifted[..., top:, left:].contiguous()


def _distances(depth: Tensor) -> Tensor:
    """(1, H, W) in floats with the farthest percent above 1, infinite where unknown."""
    depth = depth[:1].float()
    known = depth > 0
    if not known.any():
        return torch.full_like(depth, torch.inf)
    return torch.where(known, depth / farthest(depth), torch.inf)
