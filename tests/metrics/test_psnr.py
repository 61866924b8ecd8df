from __future__ import annotations

import math

import numpy as np
import pytest
import skimage.metrics
import torch

from undegrade.metrics.psnr import blocking_effect, crop_border, psnr, psnr_b


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    target = torch.rand(3, 40, 52, generator=generator)
    return (target + 0.1 * torch.randn(3, 40, 52, generator=generator)).clamp(0, 1), target


def test_psnr_is_that_of_scikit_image(pair):
    output, target = pair
    expected = skimage.metrics.peak_signal_noise_ratio(target.double().numpy(), output.double().numpy(), data_range=1.0)
    assert psnr(output, target) == pytest.approx(expected, abs=1e-10)


def test_psnr_of_one_level_everywhere():
    target = torch.full((3, 8, 8), 0.5)
    assert psnr(target + 1 / 255, target) == pytest.approx(20 * math.log10(255), abs=1e-4)
    assert psnr(target * 255 + 1, target * 255, data_range=255) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(target, target) == math.inf


def test_psnr_takes_one_error_over_all_channels():
    target = torch.zeros(3, 4, 4)
    output = target.clone()
    output[0] = 0.3  # MSE 0.09 in red, 0 elsewhere: together 0.03, not the mean of three PSNRs
    assert psnr(output, target) == pytest.approx(-10 * math.log10(0.03), abs=1e-6)


def test_psnr_refuses_other_shapes():
    with pytest.raises(ValueError, match="same size"):
        psnr(torch.zeros(3, 4, 4), torch.zeros(3, 4, 5))


def test_blocking_effect_by_hand():
    # Two flat 8 x 8 blocks with a step of 0.5 between: 8 boundary differences of 0.25, all others zero.
    picture = torch.zeros(1, 8, 16)
    picture[..., 8:] = 0.5
    assert blocking_effect(picture) == pytest.approx(0.25 * math.log2(8) / math.log2(8))
    # 16 x 16: the horizontal boundary has no step, so the mean over both is half; eta = 3 / 4.
    picture = picture.repeat(1, 2, 1)
    assert blocking_effect(picture) == pytest.approx(0.125 * 3 / 4)
    assert psnr_b(picture, picture) == pytest.approx(-10 * math.log10(0.125 * 3 / 4))


def test_a_single_row_has_no_blocking_effect():
    row = torch.arange(16.0).square()[None, None]
    assert blocking_effect(row) == blocking_effect(row.mT) == 0


def test_blocking_effect_ignores_steps_inside_blocks():
    picture = torch.zeros(1, 16, 16)
    picture[..., 4:] = 0.5
    assert blocking_effect(picture) == 0
    output = picture + 0.1
    assert psnr_b(output, picture) == pytest.approx(psnr(output, picture))


def test_psnr_b_is_lower_on_blocks():
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(1, 32, 32, generator=generator) * 0.01
    steps = torch.rand(4, 4, generator=generator).repeat_interleave(8, 0).repeat_interleave(8, 1) * 0.1
    assert psnr_b(target + steps, target) < psnr(target + steps, target) - 0.1


def test_crop_border():
    picture = torch.arange(30.0).view(1, 5, 6)
    assert np.array_equal(crop_border(picture, 2)[0], [[14, 15]])
    assert crop_border(picture, 0) is picture
    with pytest.raises(ValueError, match="no inside"):
        crop_border(picture, 3)
