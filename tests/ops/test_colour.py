"""Luma and chroma conversions against values computed by hand."""

from __future__ import annotations

import pytest
import torch

from undegrade.core.errors import UsageError
from undegrade.ops.colour import luma, rgb_to_ycbcr, ycbcr_to_rgb


def pixel(*rgb: float) -> torch.Tensor:
    return torch.tensor(rgb, dtype=torch.float64).view(3, 1, 1)


@pytest.mark.parametrize(
    ("rgb", "level"),
    [((0, 0, 0), 16), ((1, 1, 1), 235), ((1, 0, 0), 81.481), ((0, 1, 0), 144.553), ((0, 0, 1), 40.966)],
)
def test_luma_is_studio_swing(rgb: tuple[float, ...], level: float) -> None:
    assert float(luma(pixel(*rgb))) * 255 == pytest.approx(level, abs=1e-9)


def test_luma_of_one_channel_is_itself() -> None:
    grey = torch.rand(1, 4, 5)
    assert luma(grey) is grey


def test_luma_refuses_two_channels() -> None:
    with pytest.raises(UsageError, match="2 channels"):
        luma(torch.rand(2, 4, 5))


def test_luma_takes_batches() -> None:
    batch = torch.rand(2, 3, 4, 5)
    assert luma(batch).shape == (2, 1, 4, 5)
    assert torch.equal(luma(batch)[1], luma(batch[1]))


def test_jpeg_colours_by_hand() -> None:
    # JFIF: red has Y = 0.299, Cb = 0.5 - 0.299/1.772, Cr = 1.
    y, cb, cr = rgb_to_ycbcr(pixel(1, 0, 0)).flatten().tolist()
    assert (y, cb, cr) == pytest.approx((0.299, 0.5 - 0.299 / 1.772, 1.0), abs=1e-12)


def test_jpeg_colours_and_back() -> None:
    picture = torch.rand(2, 3, 5, 6, dtype=torch.float64)
    assert torch.allclose(ycbcr_to_rgb(rgb_to_ycbcr(picture)), picture, atol=1e-12)
