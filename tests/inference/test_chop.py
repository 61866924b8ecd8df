from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from undegrade.inference.chop import chop


class Upscaler:
    """Repeats pixels and notes the sizes of what it gets."""

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.sizes: list[tuple[int, int]] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.sizes.append((x.shape[-2], x.shape[-1]))
        return F.interpolate(x, scale_factor=self.scale, mode="nearest")


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(50, 45), (19, 64), (33, 20), (24, 24)])
def test_pointwise_work_is_stitched_without_seams(scale: int, size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size)
    run = Upscaler(scale)
    y = chop(run, x, scale=scale, min_size=700)
    assert torch.equal(y, F.interpolate(x, scale_factor=scale, mode="nearest"))


def test_tiles_are_the_published_ones() -> None:
    run = Upscaler(1)
    chop(run, torch.rand(1, 3, 321, 481), min_size=6800)
    # 321 x 481 -> 170 x 250 -> 95 x 135 -> 57 x 77, the first below 6800 pixels
    assert set(run.sizes) == {(57, 77)}
    assert len(run.sizes) == 64


def test_sides_of_tiles_grow_by_their_remainder() -> None:
    run = Upscaler(3)
    chop(run, torch.rand(1, 3, 40, 41), scale=3)
    assert run.sizes == [(30, 30)] * 4
    run = Upscaler(3)
    chop(run, torch.rand(1, 3, 42, 43), scale=3)
    assert run.sizes == [(32, 32)] * 4  # 31 + 31 % 3


@pytest.mark.parametrize("size", [(18, 90), (90, 5), (2, 2)])
def test_pictures_without_room_for_tiles_run_in_one_piece(size: tuple[int, int]) -> None:
    run = Upscaler(1)
    chop(run, torch.rand(1, 1, *size), min_size=10)
    assert run.sizes == [size]


def test_tiles_that_cannot_shrink_below_the_limit_end_the_recursion() -> None:
    run = Upscaler(1)
    x = torch.rand(1, 1, 64, 70)
    assert torch.equal(chop(run, x, min_size=1), x)
    assert set(run.sizes) == {(20, 20)}
