"""Windows, box means, the guided filter and convolution by FFT, against plain loops."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from undegrade.ops import filters
from undegrade.ops.pad import pad


def test_gaussian_window() -> None:
    window = filters.gaussian_window(11, 1.5, torch.float64)
    assert float(window.sum()) == pytest.approx(1)
    assert float(window[5] / window[4]) == pytest.approx(2.718281828 ** (0.5 / 1.5**2))


def test_gaussian_blur_keeps_the_mean_of_flat_pictures() -> None:
    assert torch.allclose(filters.gaussian_blur(torch.full((3, 12, 9), 0.3), 2.0), torch.tensor(0.3))


@pytest.mark.parametrize("radius", [1, 3, 20])
def test_box_mean(radius: int) -> None:
    picture = torch.rand(2, 9, 11, dtype=torch.float64)
    mean = filters.box_mean(picture, radius)
    for y, x in [(0, 0), (4, 5), (8, 10), (2, 9)]:
        window = picture[:, max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        assert torch.allclose(mean[:, y, x], window.mean(dim=(1, 2)))


def test_guided_filter_keeps_the_guides_edge_and_smooths_the_rest() -> None:
    generator = torch.Generator().manual_seed(1)
    guide = torch.zeros(1, 40, 40)
    guide[..., 20:] = 1
    noisy = guide + 0.2 * torch.randn(1, 40, 40, generator=generator)
    smooth = filters.guided_filter(guide, noisy, 6, 1e-3)
    assert float((smooth - guide).abs().mean()) < 0.03
    assert float(smooth[0, :, 20].mean() - smooth[0, :, 19].mean()) > 0.9


@pytest.mark.parametrize("shape", [(3, 3), (5, 9), (21, 1)])
def test_convolve_is_a_convolution(shape: tuple[int, int]) -> None:
    picture, kernel = torch.rand(2, 17, 23, dtype=torch.float64), torch.rand(*shape, dtype=torch.float64)
    reach_y, reach_x = shape[0] // 2, shape[1] // 2
    padded = pad(picture, (reach_x, reach_x, reach_y, reach_y), "symmetric")
    expected = F.conv2d(padded[:, None], kernel.flip(0, 1)[None, None])[:, 0]
    assert torch.allclose(filters.convolve(picture, kernel), expected, atol=1e-10)
