"""Local means against the mean of every window taken one by one, and the digits that centring saves."""

from __future__ import annotations

import naf_plain
import pytest
import torch

from undegrade.networks.layers.local_pool import spread, window_at, window_mean


def one_by_one(x: torch.Tensor, window: tuple[int, int]) -> torch.Tensor:
    """Each pixel's window clamped into the picture: centred, one more pixel on the upper left when its side is even."""
    height, width = x.shape[-2:]
    kh, kw = min(window[0], height), min(window[1], width)
    result = torch.empty_like(x)
    for row in range(height):
        top = min(max(row - (height - (height - kh + 1)) // 2, 0), height - kh)
        for column in range(width):
            left = min(max(column - (width - (width - kw + 1)) // 2, 0), width - kw)
            result[..., row, column] = x[..., top : top + kh, left : left + kw].mean((-2, -1))
    return result


@pytest.mark.parametrize("window", [(1, 1), (3, 5), (4, 6), (4, 20), (30, 3), (9, 11)], ids=str)
def test_every_window(window: tuple[int, int]) -> None:
    x = torch.rand(2, 3, 9, 12, dtype=torch.float64)
    local = spread(window_mean(x, window), 9, 12)
    assert local.shape[-2:] == (9, 12)
    torch.testing.assert_close(local, one_by_one(x, window))
    torch.testing.assert_close(local, naf_plain.window_mean(x, window))


@pytest.mark.parametrize("window", [None, (9, 12), (50, 12)], ids=str)
def test_global_when_both_sides_fit(window: tuple[int, int] | None) -> None:
    x = torch.rand(2, 3, 9, 12)
    assert torch.equal(window_mean(x, window), x.mean((2, 3), keepdim=True))
    assert spread(window_mean(x, window), 9, 12).shape[-2:] == (1, 1)


def test_digits_of_a_large_picture() -> None:
    """Mean 1 and 4K height: the plain running sum is off by 1e-6 and more, the centred one by float32 rounding."""
    torch.manual_seed(0)
    x = 1 + torch.randn(1, 1, 2160, 512)
    exact = window_mean(x.double(), (384, 384))
    centred = (window_mean(x, (384, 384)).double() - exact).abs().max()
    rows, columns = (x.shape[-2] - 383, x.shape[-1] - 383)
    plain = naf_plain.window_mean(x, (384, 384))[..., 191 : 191 + rows, 191 : 191 + columns]
    assert centred < 1.5e-7
    assert (plain.double() - exact).abs().max() > 5 * centred


def test_half_precision_sums_in_float32() -> None:
    x = (1 + torch.randn(1, 2, 300, 40)).bfloat16()
    local = window_mean(x, (100, 100))
    assert local.dtype == torch.bfloat16
    exact = window_mean(x.double(), (100, 100))
    assert (local.double() - exact).abs().max() < 0.01


def test_gradient() -> None:
    x = torch.rand(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: spread(window_mean(y, (3, 4)), 5, 6), x)


def test_windows_of_the_levels() -> None:
    assert [window_at(level, (256, 256)) for level in range(4)] == [(384, 384), (192, 192), (96, 96), (48, 48)]
    assert window_at(1, (64, 128)) == (48, 96)


def test_window_sees_the_padded_training_size() -> None:
    """A 50-pixel patch is 64 after padding; 64 * 75 // 50."""
    assert window_at(0, (50, 50)) == (96, 96)
