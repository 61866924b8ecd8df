"""Many small shapes strewn over a picture at random: rain streaks and snowflakes.

Shapes that leave the picture on one side come back on the other. They lie at random anyway, so nobody can tell, and
the whole layer becomes one circular convolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from undegrade.ops.filters import fast_length

__all__ = ["Scatter", "strew"]

Scatter = tuple[Tensor, int, float, float]
"""Shape (k, k) with k odd, how many copies, and the range of their brightness."""


def strew(scatters: Sequence[Scatter], height: int, width: int, generator: torch.Generator) -> Tensor:
    """(1, height, width): the sum of all copies of all shapes, each at a random place with a random brightness."""
    if not scatters:
        return torch.zeros(1, height, width)
    side = max(shape.shape[-1] for shape, *_ in scatters)
    # Even, as the inverse transform wants its last axis.
    rows, columns = (2 * fast_length(-(-max(length, side) // 2)) for length in (height, width))
    seeds = torch.zeros(len(scatters), rows * columns)
    shapes = torch.zeros(len(scatters), rows, columns)
    for number, (shape, count, low, high) in enumerate(scatters):
        place, brightness = torch.rand(2, count, generator=generator, device=generator.device).cpu()
        seeds[number].index_add_(0, (place * (rows * columns)).long(), low + (high - low) * brightness)
        shapes[number, : shape.shape[0], : shape.shape[1]] = shape
    spectrum = torch.fft.rfft2(seeds.view(-1, rows, columns)) * torch.fft.rfft2(shapes)
    layer: Tensor = torch.fft.irfft2(spectrum.sum(dim=0), s=(rows, columns))
    return layer[None, :height, :width].clamp(min=0)
