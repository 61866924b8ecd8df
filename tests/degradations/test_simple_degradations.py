"""Noise, JPEG, bicubic shrinking and mosaics: figures that are known beforehand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data

from undegrade.core.errors import InputError, UnknownNameError, UsageError
from undegrade.degradations.bicubic import bicubic
from undegrade.degradations.jpeg import jpeg
from undegrade.degradations.mosaic import bayer_mosaic
from undegrade.degradations.noise import camera_grain, gaussian_noise
from undegrade.ops import bayer
from undegrade.ops.jpeg import round_trip
from undegrade.ops.resize import imresize


def picture() -> torch.Tensor:
    return torch.from_numpy(data.chelsea()[:192, :240].copy()).permute(2, 0, 1).float() / 255


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sigma", [5, 25, 70])
def test_noise_has_its_sigma_and_is_independent_between_channels(sigma: int) -> None:
    noise = gaussian_noise(picture(), generator(), sigma=sigma) - picture()
    assert float(noise.std()) * 255 == pytest.approx(sigma, rel=0.02)
    assert abs(float(noise.mean())) * 255 < sigma / 50
    correlation = torch.corrcoef(noise.flatten(1))
    assert float((correlation - torch.eye(3)).abs().max()) < 0.02


def test_a_test_condition_is_not_clipped_unless_asked() -> None:
    for seed in range(5):
        for sigma in (50, np.float32(50)):
            assert float(gaussian_noise(picture(), generator(seed), sigma=sigma).min()) < 0
    clipped = gaussian_noise(picture(), generator(), sigma=50, clipped=True)
    assert 0 <= float(clipped.min()) <= float(clipped.max()) <= 1
    assert torch.equal((clipped * 255).round() / 255, clipped)


def test_training_noise_is_clipped_half_the_time() -> None:
    small = picture()[:, :16, :16]
    unclipped = [float(gaussian_noise(small, generator(seed), sigma=[40, 70]).min()) < 0 for seed in range(60)]
    assert 18 <= sum(unclipped) <= 42


def test_grain_of_a_camera_comes_in_kinds() -> None:
    """Coarse or fine, in some samples equal in all channels, and in a grey picture always."""
    grains = [camera_grain(picture(), generator(seed)) for seed in range(60)]
    assert all(float(grain.std()) == pytest.approx(1, abs=1e-4) for grain in grains)
    alike = [float(torch.corrcoef(grain[:, :, :-1].flatten(1))[0, 1]) for grain in grains]
    coarse = [
        float(torch.corrcoef(torch.stack([grain[0, :, :-1], grain[0, :, 1:]]).flatten(1))[0, 1]) for grain in grains
    ]
    for measured in (alike, coarse):
        assert min(measured) < 0.05
        assert max(measured) > 0.6
        assert 10 < sum(value > 0.1 for value in measured) < 50
    grey = picture().mean(0, keepdim=True).expand(3, -1, -1)
    assert all(torch.equal(*camera_grain(grey, generator(seed))[:2]) for seed in range(10))


def test_grain_of_a_camera_is_stronger_in_light_or_in_shadow() -> None:
    halves = torch.tensor([0.1, 0.9]).repeat_interleave(48).expand(3, 96, -1)
    grains = [camera_grain(halves, generator(seed)) for seed in range(60)]
    ratios = [float(grain[..., 48:].std() / grain[..., :48].std()) for grain in grains]
    assert min(ratios) < 0.7
    assert max(ratios) > 1.5


def test_noise_of_a_camera_is_drawn_where_asked_for() -> None:
    for seed in range(8):
        noisy = gaussian_noise(picture(), generator(seed), sigma=20, camera=1.0)
        assert torch.equal((noisy * 255).round() / 255, noisy)
        assert 14 < float((noisy - picture()).std()) * 255 < 21
    mixed = [gaussian_noise(picture(), generator(seed), sigma=50, camera=0.5) for seed in range(40)]
    assert 10 < sum(float(noisy.min()) < 0 for noisy in mixed) < 30
    drawn = generator()
    torch.rand((), generator=drawn)  # the coin for clipping; none is thrown for cameras, so the stream is as it was
    plain = picture() + 20 / 255 * torch.randn(picture().shape, generator=drawn)
    assert torch.allclose(gaussian_noise(picture(), generator(), sigma=20, camera=0.0), plain, atol=1e-6)


def test_jpeg_of_one_quality_is_the_plain_file() -> None:
    for seed in range(8):
        assert torch.equal(jpeg(picture(), generator(seed), quality=30), round_trip(picture(), 30, "4:2:0"))


def test_jpeg_twice_differs_from_once_and_ends_with_the_last_quality() -> None:
    twice = jpeg(picture(), generator(), quality=60, twice=1.0)
    assert not torch.equal(twice, round_trip(picture(), 60))
    # What came out of a file changes little when it is coded once more with the same table and grid.
    assert float((round_trip(twice, 60) - twice).abs().mean()) < 0.3 * float((twice - picture()).abs().mean())


def test_training_jpeg_keeps_the_chroma_now_and_then() -> None:
    small = picture()[:, :64, :64]
    coded = [jpeg(small, generator(seed), quality=[30, 30], twice=0.0) for seed in range(40)]
    full = sum(torch.equal(one, round_trip(small, 30, "4:4:4")) for one in coded)
    assert 2 < full < 16
    assert sum(torch.equal(one, round_trip(small, 30, "4:2:0")) for one in coded) == 40 - full


def test_grey_jpeg() -> None:
    assert torch.equal(jpeg(picture()[:1], generator(), quality=10), round_trip(picture()[:1], 10))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_rounds_per_pass_or_once(scale: int) -> None:
    exact = imresize(picture()[:, :192, :240], 1 / scale).clamp(0, 1)
    for eight_bit, bound in ((True, 1.2), (False, 0.501)):
        small = bicubic(picture(), generator(), scale=scale, eight_bit=eight_bit)
        assert small.shape == (3, 192 // scale, 240 // scale)
        assert float((small - exact).abs().max()) * 255 < bound


def test_bicubic_crops_to_a_multiple() -> None:
    assert bicubic(picture()[:, :50, :51], generator(), scale=4).shape == (3, 12, 12)
    with pytest.raises(UsageError, match="scale"):
        bicubic(picture(), generator(), scale=2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [[2, 4], "2", "", math.nan, math.inf, {}, 0, -2])
def test_bicubic_refuses_what_is_no_scale(scale: Any) -> None:
    with pytest.raises(UsageError, match=r"scale=.*a whole number from 1 on is needed"):
        bicubic(picture(), generator(), scale=scale)


def test_bicubic_refuses_to_shrink_to_nothing() -> None:
    with pytest.raises(InputError, match="pixels are too few for scale=193"):
        bicubic(picture(), generator(), scale=193)


@pytest.mark.parametrize("pattern", [["RGGB"], 2, "", {}])
def test_mosaic_refuses_what_is_no_pattern(pattern: Any) -> None:
    with pytest.raises(UnknownNameError, match="unknown Bayer pattern"):
        bayer_mosaic(picture(), generator(), pattern=pattern)


def test_mosaic_patterns() -> None:
    small = picture()[:, :8, :8]
    for pattern in bayer.PATTERNS:
        assert torch.equal(bayer_mosaic(small, generator(), pattern=pattern), bayer.mosaic(small, pattern))
    drawn = {
        name
        for seed in range(30)
        for name in bayer.PATTERNS
        if torch.equal(bayer_mosaic(small, generator(seed)), bayer.mosaic(small, name))
    }
    assert drawn == set(bayer.PATTERNS)


def test_mosaic_error_is_the_missing_two_thirds() -> None:
    # A flat grey picture of value v misses two thirds of its samples: PSNR = -10 log10(2/3 v^2).
    flat = torch.full((3, 32, 32), 0.5)
    error = (bayer_mosaic(flat, generator(), pattern="RGGB") - flat).pow(2).mean()
    assert -10 * math.log10(float(error)) == pytest.approx(-10 * math.log10(2 / 3 * 0.25))
