"""Padding by index."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from undegrade.core.errors import UnknownNameError
from undegrade.ops import bayer, pad


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.tuples(*[st.integers(0, 15)] * 4),
    st.sampled_from(pad.MODES),
)
def test_same_as_numpy_for_any_amount(height: int, width: int, amounts: tuple[int, int, int, int], mode: str) -> None:
    picture = torch.rand(2, height, width)
    left, right, top, bottom = amounts
    expected = np.pad(picture.numpy(), ((0, 0), (top, bottom), (left, right)), mode=mode)
    assert np.array_equal(pad.pad(picture, amounts, mode).numpy(), expected)


@pytest.mark.parametrize("mode", pad.MODES)
def test_to_multiple_and_back(mode: str) -> None:
    picture = torch.rand(1, 3, 13, 21)
    padded, size = pad.to_multiple(picture, 8, mode)
    assert padded.shape == (1, 3, 16, 24)
    assert torch.equal(pad.crop(padded, size), picture)
    assert pad.crop(padded.repeat_interleave(2, -1).repeat_interleave(2, -2), size, 2).shape == (1, 3, 26, 42)


def test_least_side() -> None:
    assert pad.to_multiple(torch.rand(1, 3, 5), 4, least=10)[0].shape == (1, 12, 12)


def test_reflection_keeps_the_bayer_phase() -> None:
    mosaic = bayer.mosaic(torch.ones(3, 6, 6), "GRBG")
    assert torch.equal(pad.to_multiple(mosaic, 8)[0], bayer.masks(8, 8, "GRBG"))


def test_unknown_mode() -> None:
    with pytest.raises(UnknownNameError, match="symmetric"):
        pad.pad(torch.rand(1, 2, 2), (1, 1, 1, 1), "symetric")
