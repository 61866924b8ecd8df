"""JPEG: tables against the file's own, pixels against the standard's arithmetic."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from undegrade.core.errors import UnknownNameError, UsageError
from undegrade.ops import jpeg


def colour() -> torch.Tensor:
    return torch.from_numpy(data.astronaut()[100:228, 180:340].copy()).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize("quality", [1, 5, 10, 37, 50, 75, 90, 100])
def test_tables_are_those_in_the_file(quality: int) -> None:
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG", quality=quality)
    found = Image.open(file).quantization
    for ours, theirs in zip(jpeg.tables(quality), (found[0], found[1]), strict=True):
        assert ours.flatten().tolist() == list(theirs)


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 51, 77, 95, 100])
def test_quality_is_read_from_the_table(quality: int) -> None:
    assert jpeg.quality_of_tables(jpeg.tables(quality)[0].flatten().tolist()) == quality


def test_grey_follows_the_standard() -> None:
    """Block DCT, quantisation, inverse, in float64: libjpeg's integer transform stays within a level or two."""
    levels = data.camera()[64:128, 96:176].astype(np.float64)
    row = np.arange(8)
    basis = 0.5 * np.cos((2 * row[None] + 1) * row[:, None] * np.pi / 16)
    basis[0] /= np.sqrt(2)
    blocks = levels.reshape(8, 8, 10, 8).transpose(0, 2, 1, 3) - 128
    table = jpeg.tables(20)[0]
    coded = np.round(basis @ blocks @ basis.T / table) * table
    expected = np.clip(np.round(basis.T @ coded @ basis + 128), 0, 255).transpose(0, 2, 1, 3).reshape(64, 80)
    ours = jpeg.round_trip(torch.from_numpy(levels / 255)[None], 20)[0].numpy() * 255
    difference = np.abs(ours - expected)
    assert difference.max() <= 2.001
    assert (difference > 0.5).mean() < 0.03


def test_subsampling_costs_colour_and_nothing_else() -> None:
    clean = colour()
    kept, halved = jpeg.round_trip(clean, 90, "4:4:4"), jpeg.round_trip(clean, 90, "4:2:0")
    assert kept.shape == clean.shape
    assert (kept - clean).pow(2).mean() < (halved - clean).pow(2).mean()
    grey = clean[:1].expand(3, -1, -1)
    assert (jpeg.round_trip(grey, 90, "4:4:4") - jpeg.round_trip(grey, 90, "4:2:0")).abs().max() < 1.5 / 255


def test_refusals() -> None:
    with pytest.raises(UsageError, match="quality=0"):
        jpeg.round_trip(colour(), 0)
    with pytest.raises(UnknownNameError, match="subsampling"):
        jpeg.round_trip(colour(), 50, "4:1:1")
    with pytest.raises(UsageError, match="2 channels"):
        jpeg.round_trip(colour()[:2], 50)
