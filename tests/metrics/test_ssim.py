from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from skimage.metrics import structural_similarity

from undegrade.metrics.ssim import GAUSSIAN, UNIFORM, Window, pool_for_dehazing, ssim, ssim_map, stretch


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    target = skimage.data.chelsea()[40:140, 100:220].transpose(2, 0, 1) / 255.0
    noise = np.random.default_rng(1).normal(0, 0.08, target.shape)
    return np.clip(target + noise, 0, 1), target


def tensors(pair):
    return tuple(torch.from_numpy(picture.copy()) for picture in pair)


def test_gaussian_is_that_of_scikit_image(pair):
    expected = structural_similarity(
        *pair, data_range=1.0, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(*tensors(pair), GAUSSIAN) == pytest.approx(expected, abs=1e-9)


def test_uniform_is_the_default_of_scikit_image(pair):
    expected = structural_similarity(*pair, data_range=1.0, channel_axis=0)
    assert ssim(*tensors(pair), UNIFORM) == pytest.approx(expected, abs=1e-9)


def test_float32_pictures_score_the_same(pair):
    exact = ssim(*tensors(pair), GAUSSIAN)
    assert ssim(*(picture.float() for picture in tensors(pair)), GAUSSIAN) == pytest.approx(exact, abs=1e-6)


def test_local_means_are_a_convolution(pair):
    picture = tensors(pair)[0]
    weights = torch.outer(GAUSSIAN.weights(), GAUSSIAN.weights())
    expected = F.conv2d(picture[:, None], weights[None, None])[:, 0]
    torch.testing.assert_close(GAUSSIAN.mean(picture), expected)
    assert float(GAUSSIAN.weights().sum()) == pytest.approx(1)


def test_replicate_border_keeps_the_full_map(pair):
    x, y = tensors(pair)
    full = ssim_map(x, y, replace(GAUSSIAN, border="replicate"))
    assert full.shape == x.shape
    torch.testing.assert_close(full[:, 5:-5, 5:-5], ssim_map(x, y, GAUSSIAN))
    padded = [F.pad(picture[None], [5] * 4, mode="replicate")[0] for picture in (x, y)]
    torch.testing.assert_close(full, ssim_map(*padded, GAUSSIAN))


def test_flat_pictures_by_hand():
    # No variance: only the luminance term is left.
    x, y = torch.full((1, 11, 11), 0.5), torch.full((1, 11, 11), 0.25)
    expected = (2 * 0.5 * 0.25 + 1e-4) / (0.5**2 + 0.25**2 + 1e-4)
    assert ssim(x, y, GAUSSIAN) == pytest.approx(expected, rel=1e-9)
    larger_range = (2 * 0.5 * 0.25 + 4e-4) / (0.5**2 + 0.25**2 + 4e-4)
    assert ssim(x, y, GAUSSIAN, data_range=2) == pytest.approx(larger_range, rel=1e-9)


def test_sample_covariance_by_hand():
    # One 3 x 3 window, mean 0, sum of squares 6, opposite sign: biased variance 6/9, sample variance 6/8.
    x = torch.tensor([[[1.0, -1, 1], [-1, 0, -1], [1, -1, 1]]]) * (6 / 8) ** 0.5
    for unbiased, variance in ((False, 6 / 9), (True, 6 / 8)):
        window = Window("uniform", 3, unbiased=unbiased)
        assert ssim(x, -x, window) == pytest.approx((-2 * variance + 9e-4) / (2 * variance + 9e-4), rel=1e-9)


def test_small_picture_is_refused():
    with pytest.raises(ValueError, match="smaller than the 11x11 window"):
        ssim(torch.zeros(1, 10, 40), torch.zeros(1, 10, 40))


@pytest.mark.parametrize(
    ("size", "pooled"),
    [
        ((460, 620), (232, 312)),  # the example of the reference: 464 x 624 over 2
        ((100, 120), (104, 124)),  # r = 1: a multiple of four still grows by four
        ((101, 121), (104, 124)),
        ((636, 700), (320, 352)),  # 640 / 256 = 2.5 rounds to the even 2
        ((640, 700), (214, 234)),  # 644 / 256 = 2.52 rounds to 3; 644 // 3 and 704 // 3
    ],
)
def test_pooled_size_of_the_dehazing_code(size, pooled):
    assert pool_for_dehazing(torch.zeros(1, *size)).shape[-2:] == pooled


def test_pooling_bins_overlap():
    # Six pixels become eight bins: bin i covers floor(6 i / 8) to ceil(6 (i + 1) / 8).
    row = torch.arange(6.0).expand(1, 6, 6)
    expected = [(i * 6 // 8 + (-(-(i + 1) * 6 // 8) - 1)) / 2 for i in range(8)]
    np.testing.assert_allclose(pool_for_dehazing(row)[0, 0], expected)


def test_stretch():
    assert stretch(torch.tensor([0.2, 0.4, 0.6])).tolist() == pytest.approx([0, 0.5, 1])
    assert stretch(torch.full((3,), 0.4)).tolist() == [0, 0, 0]
