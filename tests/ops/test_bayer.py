"""Bayer phases."""

from __future__ import annotations

import pytest
import torch

from undegrade.core.errors import InputError, UnknownNameError, UsageError
from undegrade.ops import bayer


@pytest.mark.parametrize("pattern", bayer.PATTERNS)
def test_first_two_rows_spell_the_pattern(pattern: str) -> None:
    sampled = bayer.masks(4, 6, pattern)
    for position, colour in enumerate(pattern):
        here = sampled[:, position // 2, position % 2]
        assert here.tolist() == [float(colour == channel) for channel in "RGB"]
    assert torch.equal(sampled[:, :2, :2], sampled[:, 2:, 4:])


@pytest.mark.parametrize("pattern", bayer.PATTERNS)
def test_every_pixel_is_sampled_once(pattern: str) -> None:
    sampled = bayer.masks(5, 7, pattern)
    assert torch.equal(sampled.sum(dim=0), torch.ones(5, 7))
    assert sampled[1, :4, :6].mean() == 0.5


def test_phases_are_shifts_of_each_other() -> None:
    rggb = bayer.masks(6, 6, "RGGB")
    assert torch.equal(rggb[:, :, 1:], bayer.masks(6, 5, "GRBG"))
    assert torch.equal(rggb[:, 1:, :], bayer.masks(5, 6, "GBRG"))
    assert torch.equal(rggb[:, 1:, 1:], bayer.masks(5, 5, "BGGR"))


def test_single_channel_and_back() -> None:
    picture = torch.rand(2, 3, 5, 6)
    raw = bayer.single(picture, "GRBG")
    assert raw.shape == (2, 1, 5, 6)
    assert torch.equal(bayer.from_single(raw, "grbg"), bayer.mosaic(picture, "GRBG"))


def test_refusals() -> None:
    with pytest.raises(UnknownNameError, match="RGGB"):
        bayer.masks(2, 2, "RGBG")
    with pytest.raises(InputError, match="1 channels"):
        bayer.mosaic(torch.rand(1, 4, 4))
    with pytest.raises(UsageError, match="has one"):
        bayer.from_single(torch.rand(3, 4, 4))
