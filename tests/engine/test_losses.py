"""Losses against their formulas, written out."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import ndimage
from torch import Tensor

from undegrade.core.errors import UnknownNameError, UsageError
from undegrade.engine import losses


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 16, 20, generator=generator, dtype=torch.float64)
    return target + 0.05 * torch.randn(target.shape, generator=generator, dtype=torch.float64), target


def test_charbonnier_and_psnr(pair: tuple[Tensor, Tensor]) -> None:
    output, target = pair
    error = (output - target).pow(2)
    assert float(losses.charbonnier(*pair)) == pytest.approx(float((error + 1e-6).sqrt().mean()))
    decibels = [10 * math.log10(float(one.mean()) + 1e-8) for one in error]
    assert float(losses.psnr_loss(*pair)) == pytest.approx(sum(decibels) / 2)


def test_fft_is_the_mean_over_real_and_imaginary_parts(pair: tuple[Tensor, Tensor]) -> None:
    spectra = [torch.fft.fft2(picture) for picture in pair]
    parts = [torch.stack([spectrum.real, spectrum.imag], -1) for spectrum in spectra]
    assert float(losses.fft(*pair)) == pytest.approx(float((parts[0] - parts[1]).abs().mean()))


def test_targets_of_smaller_scales_are_means_of_the_middle_pixels(pair: tuple[Tensor, Tensor]) -> None:
    output, target = pair
    half = sum(target[..., row::2, column::2] for row in (0, 1) for column in (0, 1)) / 4
    quarter = sum(target[..., row::4, column::4] for row in (1, 2) for column in (1, 2)) / 4
    zeros = [torch.zeros_like(quarter), torch.zeros_like(half)]
    expected = float(quarter.mean() + half.mean() + (output - target).abs().mean())
    assert float(losses.multiscale_l1([*zeros, output], target)) == pytest.approx(expected)
    both = losses.multiscale_l1([*zeros, output], target) + 0.1 * losses.multiscale_fft([*zeros, output], target)
    assert float(losses.multiscale_l1_fft([*zeros, output], target)) == pytest.approx(float(both))


def blur(picture: Tensor) -> Tensor:
    taps, result = [0.05, 0.25, 0.4, 0.25, 0.05], picture.numpy()
    for axis in (-1, -2):
        result = ndimage.correlate1d(result, taps, axis, mode="nearest")
    return torch.from_numpy(result)


def test_edge_compares_what_a_coarser_pyramid_level_lacks(pair: tuple[Tensor, Tensor]) -> None:
    bands = []
    for picture in pair:
        kept = torch.zeros_like(picture)
        kept[..., ::2, ::2] = blur(picture)[..., ::2, ::2]
        bands.append(picture - blur(4 * kept))
    expected = ((bands[0] - bands[1]).pow(2) + 1e-6).sqrt().mean()
    assert float(losses.edge(*pair)) == pytest.approx(float(expected))


def test_checkerboard_is_the_error_that_repeats_in_each_window() -> None:
    generator = torch.Generator().manual_seed(1)
    grid = torch.randn(3, 8, 8, generator=generator, dtype=torch.float64)
    grid -= grid.mean(dim=(1, 2), keepdim=True)
    target = torch.rand(1, 3, 71, 135, generator=generator, dtype=torch.float64)  # two windows beside each other
    slope = torch.linspace(0, 0.3, 135) + torch.linspace(0, 0.1, 71)[:, None]
    # A third as strong from the second window on, whose first mean over a period begins there.
    strength = torch.where(torch.arange(135) < 64 + 3, 0.03, 0.01)
    output = target + slope + strength * grid.repeat(1, 9, 17)[:, :71, :135]
    one = 10 * math.log10(float((0.03 * grid).square().mean()))
    both = one + 10 * math.log10(1 / 3)  # the mean of one and of what is 20 log10(3) below it
    assert float(losses.checkerboard(output, target)) == pytest.approx(both, abs=0.1)
    assert float(losses.checkerboard(target + slope, target)) == pytest.approx(-80)
    with pytest.raises(UsageError, match="14 pixels are too few for the loss checkerboard"):
        losses.checkerboard(output[..., :14, :], target[..., :14, :])


@pytest.mark.parametrize("name", ["l1", "charbonnier", "psnr", "checkerboard", "fft", "edge"])
def test_lower_precision_of_the_network_leaves_the_loss_alone(name: str, pair: tuple[Tensor, Tensor]) -> None:
    output, target = (picture.float() for picture in pair)
    expected = losses.get(name)(output, target)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(losses.get(name)(output, target), expected)


def test_unknown_loss() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'charbonnier'"):
        losses.get("charbonier")
