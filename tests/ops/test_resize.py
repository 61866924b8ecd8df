"""Matlab's imresize: weights worked out by hand, order of passes, rounding."""

from __future__ import annotations

import pytest
import torch

from undegrade.core.errors import UsageError
from undegrade.ops.resize import crop_to_multiple, imresize

# Half size of the ramp 1..8: weights k(.25), k(.75), k(1.25), k(1.75), halved, with the edge sample repeated outside.
HALVED_RAMP = [1.44921875, 3.48828125, 5.51171875, 7.55078125]


def ramp() -> torch.Tensor:
    return torch.arange(1, 9, dtype=torch.float64).repeat(8, 1)[None]


def test_halving_a_ramp_by_hand() -> None:
    assert imresize(ramp(), 0.5)[0, 0].tolist() == HALVED_RAMP


def test_both_axes_alike() -> None:
    assert imresize(ramp().mT, 0.5)[0, :, 0].tolist() == HALVED_RAMP


def test_doubling_by_hand() -> None:
    # Output 4 of 8 lies at 2.25 (from 1): weights k(1.25), k(.25), k(.75), k(1.75) on samples 1..4.
    row = torch.tensor([0.0, 1, 0, 0], dtype=torch.float64).view(1, 1, 4)
    assert float(imresize(row, 2)[0, 0, 3]) == 0.8671875
    assert float(imresize(row, 2)[0, 0, 4]) == 0.2265625


@pytest.mark.parametrize("scale", [1 / 4, 1 / 3, 1 / 2, 0.7, 1.0, 2.0, 3.0])
def test_flat_stays_flat(scale: float) -> None:
    flat = torch.full((3, 24, 36), 0.25)
    assert torch.allclose(imresize(flat, scale), torch.tensor(0.25), atol=1e-6)


def test_identity() -> None:
    picture = torch.rand(3, 9, 7)
    assert torch.equal(imresize(picture, 1.0), picture)


def test_sizes_round_up_and_can_be_given() -> None:
    picture = torch.rand(3, 25, 31)
    assert imresize(picture, 1 / 3).shape == (3, 9, 11)
    assert imresize(picture, size=(10, 40)).shape == (3, 10, 40)


def test_a_scale_or_a_size_is_needed() -> None:
    with pytest.raises(UsageError, match="scale and size are missing"):
        imresize(ramp())


def test_eight_bit_rounds_after_each_pass_half_away_from_zero() -> None:
    levels = torch.randint(0, 256, (1, 16, 16), generator=torch.Generator().manual_seed(0)).double()
    down = torch.floor(imresize(levels, size=(8, 16)) + 0.5).clamp(0, 255)
    expected = torch.floor(imresize(down, size=(8, 8)) + 0.5).clamp(0, 255)
    assert torch.equal(imresize(levels / 255, 0.5, eight_bit=True) * 255, expected)
    assert not torch.equal(torch.floor(imresize(levels, 0.5) + 0.5).clamp(0, 255), expected)


def test_without_antialias_only_four_samples_count() -> None:
    picture = torch.zeros(1, 1, 16, dtype=torch.float64)
    picture[..., 12] = 1.0
    # Sample 13 (from 1) is 2.5 away from output 3 of 4, which lies at 10.5: outside a kernel that was not widened.
    assert float(imresize(picture, size=(1, 4), antialias=False)[0, 0, 2]) == 0
    assert float(imresize(picture, size=(1, 4))[0, 0, 2]) != 0


def test_crop_to_multiple() -> None:
    assert crop_to_multiple(torch.rand(3, 25, 31), 4).shape == (3, 24, 28)
    assert crop_to_multiple(torch.rand(3, 24, 28), 4).shape == (3, 24, 28)
